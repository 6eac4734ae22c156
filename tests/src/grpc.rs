//! Calls of containerd's services over its socket.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::Request;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Longer than any call takes on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);

/// A connection to a socket.
#[derive(Debug)]
pub(crate) struct Client {
    runtime: Runtime,
    channel: Channel,
}

impl Client {
    /// Connects at the first call.
    pub(crate) fn at(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display()))?;
        // The channel starts a task: only inside a runtime can it.
        let channel = runtime.block_on(async { endpoint.timeout(DEADLINE).connect_lazy() });
        Ok(Self { runtime, channel })
    }

    /// Calls `/package.Service/Method`.
    pub(crate) fn call<Q, A>(&self, method: &str, request: Request<Q>) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(method)?;
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let answer = self.runtime.block_on(async {
            grpc.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            Ok::<_, tonic::transport::Error>(grpc.unary(request, path, codec).await)
        })?;
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => bail!("{method}: {:?}: {}", status.code(), status.message()),
        }
    }
}

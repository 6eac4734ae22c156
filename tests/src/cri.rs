//! A client for the few calls of the Container Runtime Interface that a kubelet makes to run one
//! container. The messages hold only the fields that these calls use; numbers as in `runtime.v1`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use prost::Message;
use tokio::runtime::Runtime;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic_prost::ProstCodec;

/// Longer than any call takes on a loaded machine.
const DEADLINE: Duration = Duration::from_secs(60);

/// The log of a container, after its end.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// A connection to a node's CRI.
#[derive(Debug)]
pub struct Cri {
    runtime: Runtime,
    channel: Channel,
}

impl Cri {
    /// Connects at the first call.
    pub fn at(socket: &Path) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let endpoint = Endpoint::try_from(format!("unix://{}", socket.display()))?;
        // The channel starts a task: only inside a runtime can it.
        let channel = runtime.block_on(async { endpoint.timeout(DEADLINE).connect_lazy() });
        Ok(Self { runtime, channel })
    }

    /// Whether the node answers: containerd listens before its plugins are ready.
    pub fn answers(&self) -> Result<()> {
        self.call::<_, Empty>("ImageService/ListImages", Empty {}).map(drop)
    }

    /// Pulls an image as a kubelet does.
    pub fn pull(&self, image: &str) -> Result<()> {
        let request = PullImageRequest { image: Some(ImageSpec { image: image.into() }) };
        self.call::<_, Empty>("ImageService/PullImage", request).map(drop)
    }

    /// Starts a pod on the host's network with one container, lets that run to its end and returns
    /// what it wrote. Nothing of it remains in the node.
    pub fn run(&self, image: &str, cgroup: &str, logs: &Path) -> Result<String> {
        let pod = PodSandboxConfig {
            metadata: Some(PodMetadata {
                name: "pod".into(),
                uid: "keycell".into(),
                namespace: "tests".into(),
            }),
            log_directory: logs.display().to_string(),
            linux: Some(LinuxPod {
                cgroup_parent: cgroup.into(),
                security_context: Some(SecurityContext {
                    namespace_options: Some(NamespaceOption { network: NODE }),
                }),
            }),
        };
        let request = RunPodSandboxRequest { config: Some(pod.clone()) };
        let Id { id: sandbox } = self.call("RuntimeService/RunPodSandbox", request)?;
        let output = self.run_in(&sandbox, pod, image, logs);
        self.call::<_, Empty>("RuntimeService/StopPodSandbox", Id { id: sandbox.clone() })?;
        self.call::<_, Empty>("RuntimeService/RemovePodSandbox", Id { id: sandbox })?;
        output
    }

    fn run_in(
        &self,
        sandbox: &str,
        pod: PodSandboxConfig,
        image: &str,
        logs: &Path,
    ) -> Result<String> {
        let path: PathBuf = "container.log".into();
        let request = CreateContainerRequest {
            pod_sandbox_id: sandbox.into(),
            config: Some(ContainerConfig {
                metadata: Some(ContainerMetadata { name: "container".into() }),
                image: Some(ImageSpec { image: image.into() }),
                log_path: path.display().to_string(),
            }),
            sandbox_config: Some(pod),
        };
        let Id { id } = self.call("RuntimeService/CreateContainer", request)?;
        self.call::<_, Empty>("RuntimeService/StartContainer", Id { id: id.clone() })?;
        let started = Instant::now();
        let status = loop {
            let ContainerStatusResponse { status } =
                self.call("RuntimeService/ContainerStatus", Id { id: id.clone() })?;
            let status = status.context("a status without a status")?;
            if status.state == EXITED {
                break status;
            }
            ensure!(started.elapsed() < DEADLINE, "the container does not end");
            std::thread::sleep(Duration::from_millis(20));
        };
        // containerd may write what it read from the container a moment after it says that this has ended.
        let ended = Instant::now();
        let mut log = fs::read_to_string(logs.join(&path))?;
        while !log.ends_with('\n') && ended.elapsed() < WRITTEN_WITHIN {
            std::thread::sleep(Duration::from_millis(20));
            log = fs::read_to_string(logs.join(&path))?;
        }
        ensure!(status.exit_code == 0, "the container: exit {}; log: {log}", status.exit_code);
        // Lines like `2026-01-31T12:00:00Z stdout F text`.
        Ok(log.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).collect())
    }

    fn call<Q, A>(&self, method: &str, request: Q) -> Result<A>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let path = PathAndQuery::try_from(format!("/runtime.v1.{method}"))?;
        let mut grpc = tonic::client::Grpc::new(self.channel.clone());
        let answer = self.runtime.block_on(async {
            grpc.ready().await?;
            let codec = ProstCodec::<Q, A>::default();
            Ok::<_, tonic::transport::Error>(
                grpc.unary(tonic::Request::new(request), path, codec).await,
            )
        })?;
        match answer {
            Ok(answer) => Ok(answer.into_inner()),
            Err(status) => bail!("{method}: {:?}: {}", status.code(), status.message()),
        }
    }
}

/// `NamespaceMode.NODE`: the host's network, so that no network plugin is needed.
const NODE: i32 = 2;

/// `ContainerState.CONTAINER_EXITED`.
const EXITED: i32 = 2;

#[derive(Clone, PartialEq, Message)]
struct Empty {}

/// Every message whose first field is an identifier, and whose other fields do not matter here.
#[derive(Clone, PartialEq, Message)]
struct Id {
    #[prost(string, tag = "1")]
    id: String,
}

#[derive(Clone, PartialEq, Message)]
struct ImageSpec {
    #[prost(string, tag = "1")]
    image: String,
}

#[derive(Clone, PartialEq, Message)]
struct PullImageRequest {
    #[prost(message, tag = "1")]
    image: Option<ImageSpec>,
}

#[derive(Clone, PartialEq, Message)]
struct RunPodSandboxRequest {
    #[prost(message, tag = "1")]
    config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct PodSandboxConfig {
    #[prost(message, tag = "1")]
    metadata: Option<PodMetadata>,
    #[prost(string, tag = "3")]
    log_directory: String,
    #[prost(message, tag = "8")]
    linux: Option<LinuxPod>,
}

#[derive(Clone, PartialEq, Message)]
struct PodMetadata {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    uid: String,
    #[prost(string, tag = "3")]
    namespace: String,
}

#[derive(Clone, PartialEq, Message)]
struct LinuxPod {
    #[prost(string, tag = "1")]
    cgroup_parent: String,
    #[prost(message, tag = "2")]
    security_context: Option<SecurityContext>,
}

#[derive(Clone, PartialEq, Message)]
struct SecurityContext {
    #[prost(message, tag = "1")]
    namespace_options: Option<NamespaceOption>,
}

#[derive(Clone, PartialEq, Message)]
struct NamespaceOption {
    #[prost(int32, tag = "1")]
    network: i32,
}

#[derive(Clone, PartialEq, Message)]
struct CreateContainerRequest {
    #[prost(string, tag = "1")]
    pod_sandbox_id: String,
    #[prost(message, tag = "2")]
    config: Option<ContainerConfig>,
    #[prost(message, tag = "3")]
    sandbox_config: Option<PodSandboxConfig>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerConfig {
    #[prost(message, tag = "1")]
    metadata: Option<ContainerMetadata>,
    #[prost(message, tag = "2")]
    image: Option<ImageSpec>,
    #[prost(string, tag = "11")]
    log_path: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerMetadata {
    #[prost(string, tag = "1")]
    name: String,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatusResponse {
    #[prost(message, tag = "1")]
    status: Option<ContainerStatus>,
}

#[derive(Clone, PartialEq, Message)]
struct ContainerStatus {
    #[prost(int32, tag = "3")]
    state: i32,
    #[prost(int32, tag = "7")]
    exit_code: i32,
}

//! The imports of `wasi:sockets`, for guests in languages whose runtime imports them whether it uses them or
//! not, such as Python's. There is no network: every function that can fail does, with `access-denied`.

use keycell_core::Instance;
use wasmtime::component::types::{ComponentFunc, ComponentItem, Type};
use wasmtime::component::{Component, Linker, Resource, ResourceType, Val};
use wasmtime::{Engine, Result, StoreContextMut, bail};

/// The package of the interfaces.
const PACKAGE: &str = "wasi:sockets/";

/// The resources that the interfaces define. The others in them are those of `wasi:io`.
const RESOURCES: [&str; 6] = [
    "network",
    "tcp-socket",
    "udp-socket",
    "incoming-datagram-stream",
    "outgoing-datagram-stream",
    "resolve-address-stream",
];

/// What stands behind a handle: nothing.
struct Nothing;

/// Defines the interfaces that `guest` imports.
///
/// # Errors
/// wasmtime does not accept a definition.
pub fn refuse(linker: &mut Linker<Instance>, engine: &Engine, guest: &Component) -> Result<()> {
    for (name, import) in guest.component_type().imports(engine) {
        let ComponentItem::ComponentInstance(interface) = import.ty else { continue };
        if !name.starts_with(PACKAGE) {
            continue;
        }
        let mut defined = linker.instance(name)?;
        for (export, item) in interface.exports(engine) {
            match item.ty {
                ComponentItem::ComponentFunc(_) => defined.func_new(export, answer)?,
                ComponentItem::Resource(_) if RESOURCES.contains(&export) => {
                    defined.resource(export, ResourceType::host::<Nothing>(), |_, _| Ok(()))?;
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// Refuses. A function that cannot fail returns a handle to the network, with which nothing can be done. All
/// others need a socket, and there is none.
fn answer(
    mut store: StoreContextMut<'_, Instance>,
    function: ComponentFunc,
    arguments: &[Val],
    results: &mut [Val],
) -> Result<()> {
    for argument in arguments {
        if let Val::Resource(handle) = argument {
            Resource::<Nothing>::try_from_resource_any(*handle, &mut store)?; // a borrow has to end here
        }
    }
    for (result, ty) in results.iter_mut().zip(function.results()) {
        *result = match ty {
            Type::Result(_) => Val::Result(Err(Some(Box::new(Val::Enum("access-denied".into()))))),
            Type::Own(_) => {
                let nothing = Resource::<Nothing>::new_own(0);
                Val::Resource(nothing.try_into_resource_any(&mut store)?)
            }
            _ => bail!("a socket was used, and there are none"),
        };
    }
    Ok(())
}

//! The bindings that wit-bindgen generates from `wit/decoder.wit`.

wit_bindgen::generate!({
    path: "../wit",
    world: "keycell:decoder/decoder",
    generate_all,
});

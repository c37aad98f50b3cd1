//! Gives libssh2 the `ChaCha20` and `Poly1305` of OpenSSL: `src/transport/ssh/chachapoly.c` says why.

use std::env;

/// The function of libssh2 that is replaced.
const REPLACED: &str = "chachapoly_crypt";
const SOURCE: &str = "src/transport/ssh/chachapoly.c";

fn main() {
    println!("cargo::rerun-if-changed={SOURCE}");
    println!("cargo::rerun-if-env-changed=LIBSSH2_SYS_USE_PKG_CONFIG");
    // A libssh2 of the system is linked already. Other linkers do not know how to replace a function, and Poly1305 came
    // with OpenSSL 3; there it is libssh2's own.
    let bundled = env::var_os("LIBSSH2_SYS_USE_PKG_CONFIG").is_none();
    let linux = env::var("CARGO_CFG_TARGET_OS").is_ok_and(|os| os == "linux");
    let version = env::var("DEP_OPENSSL_VERSION_NUMBER").unwrap_or_default();
    let openssl3 = u64::from_str_radix(&version, 16).is_ok_and(|number| number >= 0x3000_0000);
    if env::var_os("CARGO_FEATURE_SSH").is_none() || !bundled || !linux || !openssl3 {
        return;
    }
    let mut build = cc::Build::new();
    if let Some(include) = env::var_os("DEP_OPENSSL_INCLUDE") {
        build.includes(env::split_paths(&include));
    }
    build.file(SOURCE).opt_level(2).compile("upgrade_host_chachapoly");
    // For what this package builds. A program that embeds it gives its linker the same, or has libssh2's own.
    println!("cargo::rustc-link-arg=-Wl,--wrap={REPLACED}");
    // Whichever of the two libraries the linker reads first.
    println!("cargo::rustc-link-arg=-Wl,--undefined=__wrap_{REPLACED}");
}

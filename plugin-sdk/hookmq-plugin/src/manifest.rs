//! The `export!` macro and the manifest it writes.

/// Makes a type the crate's plugin and writes its manifest.
///
/// The plugin's version is that of the crate. The keys stand in this order, and all but `plugin` and
/// `hooks` may be left out:
///
/// - `plugin`: the type that implements [`Plugin`](crate::Plugin).
/// - `name`: a string literal; without it, the crate's name.
/// - `hooks`: of `connect`, `authorize`, `publish`, `deliver`.
/// - `topics`: filters, as string literals; the plugin is asked about these topics only.
/// - `fields`: what the plugin reads, of `payload`, `properties`, `client` (tenant, username and
///   client id), `attributes` (and roles), `connection` (and certificate), `password`. What is not
///   named is not copied, which is faster.
/// - `capabilities`: of `log`, `metric`, `clock` and `kv`. With `log`, panic messages reach the log.
/// - `emit`: filters of the topics of emitted messages.
/// - `authorize_is_cacheable: true`: the same client and access always give the same verdict.
/// - `limits`: `{ memory_bytes: 1048576, time_ms: 10 }`; the operator may set less.
#[macro_export]
macro_rules! export {
    (
        plugin: $plugin:ty
        $(, name: $name:literal)?,
        hooks: [$($hook:ident),* $(,)?]
        $(, topics: [$($topic:literal),* $(,)?])?
        $(, fields: [$($field:ident),* $(,)?])?
        $(, capabilities: [$($capability:ident),* $(,)?])?
        $(, emit: [$($emit:literal),* $(,)?])?
        $(, authorize_is_cacheable: $cacheable:literal)?
        $(, limits: { $($limit:ident: $value:literal),* $(,)? })?
        $(,)?
    ) => {
        const _: () = {
            const MANIFEST: &str = ::core::concat!(
                "{\"name\":\"", $crate::__name!($($name)?),
                "\",\"version\":\"", ::core::env!("CARGO_PKG_VERSION"),
                "\",\"hooks\":[", $crate::__list!($($hook),*), "]",
                $(",\"topics\":[", $crate::__list!($($topic),*), "]",)?
                $(",\"fields\":[", $crate::__list!($($field),*), "]",)?
                $(",\"capabilities\":[", $crate::__list!($($capability),*), "]",)?
                $(",\"emit\":[", $crate::__list!($($emit),*), "]",)?
                $(",\"authorize_is_cacheable\":", $cacheable,)?
                $(",\"limits\":{", $crate::__object!($($limit: $value),*), "}",)?
                "}"
            );

            #[cfg_attr(target_arch = "wasm32", unsafe(link_section = "hookmq-manifest"))]
            #[used]
            static SECTION: [u8; MANIFEST.len()] = {
                let mut bytes = [0; MANIFEST.len()];
                bytes.copy_from_slice(MANIFEST.as_bytes());
                bytes
            };

            ::std::thread_local! {
                static PLUGIN: $crate::Slot<$plugin> = const { $crate::Slot::new(None) };
            }

            #[allow(dead_code)]
            struct Exports;

            impl $crate::Guest for Exports {
                fn configure(config: String) -> Result<(), String> {
                    $($($crate::__report_panics!($capability);)*)?
                    $crate::configure(&PLUGIN, &config)
                }

                fn connect(
                    attempt: $crate::ConnectAttempt,
                ) -> Result<$crate::ConnectVerdict, String> {
                    $crate::with(&PLUGIN, |plugin| $crate::Plugin::connect(plugin, attempt))
                }

                fn authorize(
                    client: $crate::Client,
                    access: $crate::Access,
                ) -> Result<$crate::AuthorizeVerdict, String> {
                    $crate::with(&PLUGIN, |plugin| $crate::Plugin::authorize(plugin, client, access))
                }

                fn publish(
                    client: Option<$crate::Client>,
                    message: $crate::Message,
                ) -> Result<$crate::PublishVerdict, String> {
                    $crate::with(&PLUGIN, |plugin| $crate::Plugin::publish(plugin, client, message))
                }

                fn deliver(
                    client: Option<$crate::Client>,
                    message: $crate::Message,
                ) -> Result<$crate::DeliverVerdict, String> {
                    $crate::with(&PLUGIN, |plugin| $crate::Plugin::deliver(plugin, client, message))
                }
            }

            // The exported names are no valid symbols of a native library.
            #[cfg(target_arch = "wasm32")]
            $crate::export_bindings!(Exports with_types_in $crate::bindings);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __name {
    () => {
        ::core::env!("CARGO_PKG_NAME")
    };
    ($name:literal) => {
        $name
    };
}

/// The items as JSON strings with commas between them; literals bring their own quotes.
#[doc(hidden)]
#[macro_export]
macro_rules! __list {
    () => { "" };
    ($first:tt $(, $rest:tt)*) => {
        ::core::concat!($crate::__string!($first) $(, ",", $crate::__string!($rest))*)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __string {
    ($name:ident) => {
        ::core::concat!("\"", ::core::stringify!($name), "\"")
    };
    ($text:literal) => {
        ::core::stringify!($text)
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __object {
    () => { "" };
    ($first:ident: $first_value:literal $(, $rest:ident: $value:literal)*) => {
        ::core::concat!(
            "\"", ::core::stringify!($first), "\":", $first_value
            $(, ",\"", ::core::stringify!($rest), "\":", $value)*
        )
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __report_panics {
    (log) => {
        $crate::report_panics()
    };
    ($other:ident) => {};
}

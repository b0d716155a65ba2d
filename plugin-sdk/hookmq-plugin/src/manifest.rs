//! The `export!` macro and the manifest it writes.

/// Makes a type the crate's plugin and writes its manifest.
///
/// The plugin's version is that of the crate. Keys come in any order; `plugin` and `hooks` are needed:
///
/// - `plugin`: the type that implements [`Plugin`](crate::Plugin).
/// - `name`: a string literal; without it, the crate's name.
/// - `hooks`: of `connect`, `authorize`, `publish`, `deliver`.
/// - `topics`: filters, as string literals; the plugin is asked about these topics only.
/// - `fields`: what the plugin reads, of `payload`, `properties`, `client` (tenant, username and
///   client id), `attributes` (and roles), `connection` (and certificate), `password`. What is not
///   named is not copied, which is faster.
/// - `capabilities`: of [`log`](crate::log), [`metric`](crate::metric), [`clock`](crate::clock) and
///   [`kv`](crate::kv). With `log`, panic messages reach the log.
/// - `emit`: filters of the topics of [emitted](crate::emit) messages.
/// - `http`: the hosts that [requests](crate::http) go to, as string literals: `"auth.example"`,
///   `"https://auth.example:8443"`, `"http://auth.example"`, or `"*"` for those that the operator
///   chooses.
/// - `secrets`: the names of [secrets](crate::secret), as string literals, or `"*"` for those that the
///   operator gives.
/// - `authorize_is_cacheable: true`: the same client and access always give the same verdict.
/// - `config_schema`: the path of a JSON Schema of the configuration, from this source file on.
/// - `limits`: `{ memory_bytes: 1048576, time_ms: 10 }`; the operator may set less.
///
/// What is wrong is said in words:
///
/// ```compile_fail
/// # use hookmq_plugin::Plugin;
/// # struct Mine;
/// # impl Plugin for Mine {
/// #     type Config = ();
/// #     fn new((): ()) -> Result<Self, String> { Ok(Self) }
/// # }
/// hookmq_plugin::export! {
///     plugin: Mine,
///     hooks: [publish],
///     capabilities: [logs], // error: `logs` is no capability; there are log, metric, clock and kv
/// }
/// ```
#[macro_export]
macro_rules! export {
    ($($keys:tt)*) => {
        $crate::__export! { {} {} {} {} {} $($keys)* }
    };
}

/// Takes one key after the other. The braces before them hold what came so far: the plugin, its name,
/// its hooks, its capabilities, and the rest of the manifest as arguments of `concat!`.
#[doc(hidden)]
#[macro_export]
macro_rules! __export {
    ({} $name:tt $hooks:tt $caps:tt $json:tt plugin: $plugin:ty $(, $($rest:tt)*)?) => {
        $crate::__export! { {$plugin} $name $hooks $caps $json $($($rest)*)? }
    };
    ($plugin:tt {} $hooks:tt $caps:tt $json:tt name: $name:literal $(, $($rest:tt)*)?) => {
        $crate::__export! { $plugin {$name} $hooks $caps $json $($($rest)*)? }
    };
    ($plugin:tt $name:tt {} $caps:tt $json:tt
        hooks: [$($hook:ident),* $(,)?] $(, $($rest:tt)*)?) => {
        $($crate::__known!(hook $hook);)*
        $crate::__export! { $plugin $name {$($hook)*} $caps $json $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt {} $json:tt
        capabilities: [$($cap:ident),* $(,)?] $(, $($rest:tt)*)?) => {
        $($crate::__known!(capability $cap);)*
        $crate::__export! { $plugin $name $hooks {$($cap)*} $json $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        fields: [$($field:ident),* $(,)?] $(, $($rest:tt)*)?) => {
        $($crate::__known!(field $field);)*
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"fields\":[", $crate::__list!($($field),*), "]",} $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        topics: [$($topic:literal),* $(,)?] $(, $($rest:tt)*)?) => {
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"topics\":[", $crate::__list!($($topic),*), "]",} $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        emit: [$($filter:literal),* $(,)?] $(, $($rest:tt)*)?) => {
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"emit\":[", $crate::__list!($($filter),*), "]",} $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        http: [$($host:literal),* $(,)?] $(, $($rest:tt)*)?) => {
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"http\":[", $crate::__list!($($host),*), "]",} $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        secrets: [$($secret:literal),* $(,)?] $(, $($rest:tt)*)?) => {
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"secrets\":[", $crate::__list!($($secret),*), "]",} $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        authorize_is_cacheable: $cacheable:literal $(, $($rest:tt)*)?) => {
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"authorize_is_cacheable\":", $cacheable,} $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        config_schema: $path:literal $(, $($rest:tt)*)?) => {
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"config_schema\":", ::core::include_str!($path),} $($($rest)*)? }
    };
    ($plugin:tt $name:tt $hooks:tt $caps:tt {$($json:tt)*}
        limits: { $($limit:ident: $value:literal),* $(,)? } $(, $($rest:tt)*)?) => {
        $($crate::__known!(limit $limit);)*
        $crate::__export! { $plugin $name $hooks $caps
            {$($json)* ",\"limits\":{", $crate::__object!($($limit: $value),*), "}",}
            $($($rest)*)? }
    };

    ({} $name:tt $hooks:tt $caps:tt $json:tt) => {
        ::core::compile_error!("export!: `plugin: Type` is missing");
    };
    ($plugin:tt $name:tt {} $caps:tt $json:tt) => {
        ::core::compile_error!("export!: `hooks: [..]` is missing, or empty");
    };
    ({$plugin:ty} {$($name:literal)?} {$($hook:ident)+} {$($cap:ident)*} {$($json:tt)*}) => {
        const _: () = {
            const MANIFEST: &str = ::core::concat!(
                "{\"name\":\"", $crate::__name!($($name)?),
                "\",\"version\":\"", ::core::env!("CARGO_PKG_VERSION"),
                "\",\"hooks\":[", $crate::__list!($($hook),*),
                "],\"capabilities\":[", $crate::__list!($($cap),*), "]",
                $($json)*
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

            impl $crate::Exported for $plugin {
                const MANIFEST: &'static str = MANIFEST;
            }

            #[allow(dead_code)]
            struct Exports;

            impl $crate::Guest for Exports {
                fn configure(config: String) -> Result<(), String> {
                    $($crate::__report_panics!($cap);)*
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

    ($plugin:tt $name:tt $hooks:tt $caps:tt $json:tt $key:ident $($rest:tt)*) => {
        $crate::__wrong_key! { $key }
    };
    ($($other:tt)*) => {
        ::core::compile_error!("export!: it takes `key: value, ..`");
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __wrong_key {
    (plugin) => {
        ::core::compile_error!("export!: `plugin` is one type, and stands once");
    };
    (name) => {
        ::core::compile_error!("export!: `name` is one string literal");
    };
    (hooks) => {
        ::core::compile_error!("export!: `hooks` is a list of names: [connect, publish]");
    };
    (capabilities) => {
        ::core::compile_error!("export!: `capabilities` is a list of names: [log, clock]");
    };
    (fields) => {
        ::core::compile_error!("export!: `fields` is a list of names: [payload, client]");
    };
    (topics) => {
        ::core::compile_error!("export!: `topics` is a list of string literals");
    };
    (emit) => {
        ::core::compile_error!("export!: `emit` is a list of string literals");
    };
    (http) => {
        ::core::compile_error!("export!: `http` is a list of string literals");
    };
    (secrets) => {
        ::core::compile_error!("export!: `secrets` is a list of string literals");
    };
    (config_schema) => {
        ::core::compile_error!("export!: `config_schema` is the path of a file, a string literal");
    };
    (authorize_is_cacheable) => {
        ::core::compile_error!("export!: `authorize_is_cacheable` is true or false");
    };
    (limits) => {
        ::core::compile_error!("export!: `limits` is { memory_bytes: 1048576, time_ms: 10 }");
    };
    ($other:ident) => {
        ::core::compile_error!(::core::concat!(
            "export!: `",
            ::core::stringify!($other),
            "` is no key; there are plugin, name, hooks, ",
            "topics, fields, capabilities, emit, http, secrets, authorize_is_cacheable, ",
            "config_schema and limits"
        ));
    };
}

/// Nothing where the name is known, and words where it is not.
#[doc(hidden)]
#[macro_export]
macro_rules! __known {
    (hook connect) => {};
    (hook authorize) => {};
    (hook publish) => {};
    (hook deliver) => {};
    (hook $other:ident) => {
        $crate::__unknown! { $other "hook; there are connect, authorize, publish and deliver" }
    };
    (capability log) => {};
    (capability metric) => {};
    (capability clock) => {};
    (capability kv) => {};
    (capability emit) => {
        $crate::__unknown! { emit "capability: write emit: [\"filter\"]" }
    };
    (capability http) => {
        $crate::__unknown! { http "capability: write http: [\"host\"]" }
    };
    (capability $other:ident) => {
        $crate::__unknown! { $other "capability; there are log, metric, clock and kv" }
    };
    (field payload) => {};
    (field properties) => {};
    (field client) => {};
    (field attributes) => {};
    (field connection) => {};
    (field password) => {};
    (field $other:ident) => {
        $crate::__unknown! {
            $other
            "field; there are payload, properties, client, attributes, connection and password"
        }
    };
    (limit memory_bytes) => {};
    (limit time_ms) => {};
    (limit $other:ident) => {
        $crate::__unknown! { $other "limit; there are memory_bytes and time_ms" }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __unknown {
    ($name:ident $words:literal) => {
        ::core::compile_error!(::core::concat!(
            "export!: `",
            ::core::stringify!($name),
            "` is no ",
            $words
        ));
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

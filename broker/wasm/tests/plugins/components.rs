//! Components that no tool would make: components inside components, and more of everything than there may
//! be. Each is refused or works, and none makes the host panic.

use hookmq_hooks::Program;
use hookmq_wasm::{HostOptions, PluginSettings};
use serde_json::json;
use wasm_encoder::{
    Alias, CanonicalOption, CodeSection, ComponentAliasSection, ComponentBuilder,
    ComponentExportKind, ComponentInstanceSection, ComponentSection, ComponentSectionId,
    ComponentType, ComponentTypeRef, ComponentTypeSection, ComponentValType, CustomSection,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, ImportSection,
    InstanceSection, MemorySection, MemoryType, Module, ModuleArg, ModuleSection, PrimitiveValType,
    RawSection, TypeSection, ValType,
};
use wasmparser::Validator;

use crate::{artefact, artefacts, client, host_with, message, patient, settings};

const MANIFEST: &str = r#"{"name":"made-up","version":"1.0.0","hooks":["publish"]}"#;
const NO_ARGUMENTS: [(&str, ComponentExportKind, u32); 0] = [];
const NO_MODULES: [(&str, ModuleArg); 0] = [];

/// A plugin that works, as a component, with more sections behind it.
struct Extended {
    bytes: Vec<u8>,
    components: u32,
    instances: u32,
    functions: u32,
    modules: u32,
    types: u32,
}

impl Extended {
    fn new() -> Self {
        let bytes = artefacts::component(&artefact("fixtures/stamp-v1"));
        let types = Validator::new().validate_all(&bytes).unwrap();
        let types = types.as_ref();
        Self {
            components: types.component_count(),
            instances: types.component_instance_count(),
            functions: types.component_function_count(),
            modules: types.module_count(),
            types: types.component_type_count(),
            bytes,
        }
    }

    fn with(mut self, section: &impl ComponentSection) -> Self {
        section.append_to_component(&mut self.bytes);
        self
    }

    fn with_component(self, component: &[u8]) -> Self {
        let id = ComponentSectionId::Component.into();
        self.with(&RawSection { id, data: component })
    }

    /// Whether it works; or the words of its refusal.
    fn load(&self) -> Result<(), String> {
        let host = host_with(HostOptions { limits: patient(), ..HostOptions::default() });
        let settings = PluginSettings { limits: patient(), ..settings(json!(null)) };
        let plugin = host.load(&self.bytes, settings).map_err(|error| error.to_string())?;
        plugin.publish(&client("acme"), &message("{}")).unwrap();
        Ok(())
    }

    #[track_caller]
    fn is_refused(&self, words: &str) {
        let refused = self.load().expect_err("it is refused");
        assert!(refused.contains(words), "expected {words:?} in {refused:?}");
    }
}

/// A module with a memory, `realloc`, and `f` for a text, which calls the imported one where there is one.
fn module(imports_f: bool, memory_pages: u64) -> Module {
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([ValType::I32; 2], []);
    let mut imports = ImportSection::new();
    imports.import("", "f", EntityType::Function(1));
    let mut functions = FunctionSection::new();
    functions.function(0).function(1);
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: memory_pages,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let first = u32::from(imports_f);
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("realloc", ExportKind::Func, first);
    exports.export("f", ExportKind::Func, first + 1);
    let mut realloc = Function::new([]);
    realloc.instructions().i32_const(1024).end();
    let mut f = Function::new([]);
    if imports_f {
        f.instructions().local_get(0).local_get(1).call(0);
    }
    f.instructions().end();
    let mut code = CodeSection::new();
    code.function(&realloc).function(&f);
    let mut module = Module::new();
    module.section(&types);
    if imports_f {
        module.section(&imports);
    }
    module.section(&functions).section(&memories).section(&exports).section(&code);
    module
}

/// A component that exports `f: func(text: string)`; or hands it on to one that it imports, through a
/// memory of its own.
fn component(imports_f: bool) -> Vec<u8> {
    let mut component = ComponentBuilder::default();
    let (text_type, mut function) = component.type_function(None);
    function.params([("text", ComponentValType::Primitive(PrimitiveValType::String))]).result(None);
    let imported = imports_f.then(|| component.import("f", ComponentTypeRef::Func(text_type)));
    // What an import is lowered with has to be there before who imports it.
    let plain = component.core_module(None, &module(false, 1));
    let plain = component.core_instantiate(None, plain, NO_MODULES);
    let options = |component: &mut ComponentBuilder, instance| {
        let memory = component.core_alias_export(None, instance, "memory", ExportKind::Memory);
        let realloc = component.core_alias_export(None, instance, "realloc", ExportKind::Func);
        let (memory, realloc) =
            (CanonicalOption::Memory(memory), CanonicalOption::Realloc(realloc));
        [CanonicalOption::UTF8, memory, realloc]
    };
    let plain_options = options(&mut component, plain);
    let instance = match imported {
        None => plain,
        Some(imported) => {
            let lowered = component.lower_func(None, imported, plain_options);
            let named = [("f", ExportKind::Func, lowered)];
            let named = component.core_instantiate_exports(None, named);
            let handing_on = component.core_module(None, &module(true, 1));
            component.core_instantiate(None, handing_on, [("", ModuleArg::Instance(named))])
        }
    };
    let options = options(&mut component, instance);
    let f = component.core_alias_export(None, instance, "f", ExportKind::Func);
    let lifted = component.lift_func(None, f, text_type, options);
    component.export("f", ComponentExportKind::Func, lifted, None);
    component.finish()
}

/// wasmtime ties the two by an adapter with both memories, and has panicked at that where modules could not
/// have two.
#[test]
fn components_that_copy_between_their_memories_are_refused_or_work() {
    let plugin = Extended::new();
    let (inner, first, function) = (plugin.components, plugin.instances, plugin.functions);
    let mut instances = ComponentInstanceSection::new();
    instances.instantiate(inner, NO_ARGUMENTS);
    let mut aliases = ComponentAliasSection::new();
    let kind = ComponentExportKind::Func;
    aliases.alias(Alias::InstanceExport { instance: first, kind, name: "f" });
    let mut tied = ComponentInstanceSection::new();
    tied.instantiate(inner + 1, [("f", kind, function)]);
    let plugin = plugin.with_component(&component(false)).with_component(&component(true));
    plugin.with(&instances).with(&aliases).with(&tied).is_refused("memories");
}

/// P03: one instance of a plugin has so many parts.
#[test]
fn a_component_with_too_many_instances_is_refused() {
    for (count, words) in [(100, "instances"), (100_000, "instances")] {
        let plugin = Extended::new();
        let mut instances = InstanceSection::new();
        for _ in 0..count {
            instances.instantiate(plugin.modules, NO_MODULES);
        }
        plugin.with(&ModuleSection(&Module::new())).with(&instances).is_refused(words);
    }
}

/// P03: memory that nobody uses is memory all the same.
#[test]
fn a_component_with_more_memory_than_it_may_have_is_refused() {
    for pages in [1, 65_536] {
        let plugin = Extended::new();
        let mut instances = InstanceSection::new();
        instances.instantiate(plugin.modules, NO_MODULES);
        let plugin = plugin.with(&ModuleSection(&module(false, pages))).with(&instances);
        plugin.is_refused("memor");
    }
}

/// P03: what takes a few bytes to say and more than there is to hold.
#[test]
fn types_that_double_and_components_within_components_end() {
    let plugin = Extended::new();
    let mut types = ComponentTypeSection::new();
    let text = ComponentValType::Primitive(PrimitiveValType::String);
    types.defined_type().tuple([text, text]);
    for number in 0..60 {
        let inner = ComponentValType::Type(plugin.types + number);
        types.defined_type().tuple([inner, inner]);
    }
    plugin.with(&types).is_refused("type size");

    let mut nested = ComponentBuilder::default().finish();
    for _ in 0..2000 {
        let mut outer = ComponentBuilder::default();
        outer.component_raw(None, &nested);
        nested = outer.finish();
    }
    // However deep, there is nothing in it.
    let _ = Extended::new().with_component(&nested).load();
}

/// A core module whose world has a function of a text in so many lists.
fn nested_in_lists(depth: u32) -> Vec<u8> {
    let mut world = ComponentType::new();
    let text = ComponentValType::Primitive(PrimitiveValType::String);
    world.ty().defined_type().list(text);
    for number in 0..depth {
        world.ty().defined_type().list(ComponentValType::Type(number));
    }
    world.ty().function().params([("x", ComponentValType::Type(depth))]).result(None);
    world.export("f", ComponentTypeRef::Func(depth + 1));
    let mut package = ComponentType::new();
    package.ty().component(&world);
    package.export("a:b/w", ComponentTypeRef::Component(0));
    let mut component = ComponentBuilder::default();
    let package = component.type_component(None, &package);
    component.export("w", ComponentExportKind::Type, package, None);
    let mut data = component.finish();
    let encoding = CustomSection {
        name: "wit-component-encoding".into(),
        // Version 4, texts in UTF-8.
        data: vec![4, 0].into(),
    };
    let mut section = Vec::new();
    encoding.append_to_component(&mut section);
    const HEADER: usize = 8;
    data.splice(HEADER..HEADER, section);
    let mut module = Module::new();
    module.section(&CustomSection { name: "component-type:w".into(), data: data.into() });
    artefacts::with_manifest(&module.finish(), MANIFEST)
}

/// P03: the world of a module is read outside of the process that compiles.
#[test]
fn a_world_of_types_within_types_is_refused() {
    let host = host_with(HostOptions { limits: patient(), ..HostOptions::default() });
    let refusal = |depth| {
        let refused = host.load(&nested_in_lists(depth), PluginSettings::default());
        refused.err().expect("it is refused").to_string()
    };
    assert!(refusal(10).contains("export of function `f`"), "it is understood: {}", refusal(10));
    for depth in [1000, 900_000] {
        let words = refusal(depth);
        assert!(words.contains("nesting is too deep"), "{words}");
    }
}

//! Plugins that no compiler would write: whole modules, made to do one bad thing.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, CustomSection, DataSection, ExportKind, ExportSection,
    Function, FunctionSection, GlobalSection, GlobalType, InstructionSink, MemorySection,
    MemoryType, Module, RefType, StartSection, TableSection, TableType, TypeSection, ValType,
};
use wasmparser::{Parser, Payload};

use super::siege::artefact;

/// Function 0 is this one, without arguments and results; a bad thing may call itself.
pub const BAD_THING: u32 = 0;

/// Types by the number of their parameters; all but the first give one number.
const NOTHING: u32 = 0;
const ONE: u32 = 1;
const TWO: u32 = 2;
const FOUR: u32 = 3;
const ONE_FOR_NOTHING: u32 = 4;

const HOOKS: [&str; 4] = ["connect", "authorize", "publish", "deliver"];

/// An area of zeros: success, and in each hook the first verdict.
const ANSWER: i32 = 1024;
const ANSWER_WITH_TEXT: i32 = 2048;
/// Where the broker may put what it hands over.
const INPUT: i32 = 4096;
/// Behind all that the broker hands over beside the payload, as that all begins at the same place.
pub const ECHOED_FROM: usize = 12_288;

/// A plugin that does this when it is configured.
pub fn configured(manifest: &str, bad_thing: impl FnOnce(&mut InstructionSink<'_>)) -> Vec<u8> {
    misplaced(manifest, Place::Configure, bad_thing)
}

/// When a plugin does its bad thing.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Place {
    Configure,
    /// Before anything is called.
    Start,
    /// When the broker wants memory for what it hands over.
    Realloc,
    Publish,
    /// When the broker is done with an answer of `publish`.
    PostReturn,
}

/// A plugin that does this in `place`.
pub fn misplaced(
    manifest: &str,
    place: Place,
    bad_thing: impl FnOnce(&mut InstructionSink<'_>),
) -> Vec<u8> {
    let mut function = Function::new([]);
    bad_thing(&mut function.instructions());
    function.instructions().end();
    module(manifest, &[function], place, &Published::Pass)
}

/// A plugin whose answer in `publish` is what stands in the payload from [`ECHOED_FROM`] on.
pub fn echoing(manifest: &str) -> Vec<u8> {
    let mut idle = Function::new([]);
    idle.instructions().end();
    module(manifest, &[idle], Place::Configure, &Published::Echo)
}

/// A plugin that puts `payload` in the place of each message's, after a while of work.
pub fn replacing(manifest: &str, payload: &'static str) -> Vec<u8> {
    const ROUNDS: i32 = 20_000;
    let mut work = Function::new([(1, ValType::I32)]);
    work.instructions().loop_(BlockType::Empty).local_get(0).i32_const(1).i32_add().local_tee(0);
    work.instructions().i32_const(ROUNDS).i32_lt_s().br_if(0).end().end();
    module(manifest, &[work], Place::Publish, &Published::Replace(payload))
}

/// A plugin that does nothing, with `count` functions of about `bytes` bytes each that nobody calls.
pub fn heavy(manifest: &str, count: usize, bytes: usize) -> Vec<u8> {
    let mut idle = Function::new([]);
    idle.instructions().end();
    let mut functions = vec![idle];
    functions.extend((0..count).map(|number| huge_function(number, bytes)));
    module(manifest, &functions, Place::Configure, &Published::Pass)
}

/// Its values live long, cross each other, and flow around loops within loops, which makes them hard to
/// place.
fn huge_function(seed: usize, bytes: usize) -> Function {
    const LOCALS: u32 = 500;
    /// Of the operations in a round, with their operands.
    const ROUND_BYTES: usize = 14;
    const ROUNDS_PER_LOOP: usize = 20;
    let mut function = Function::new([(LOCALS, ValType::I64)]);
    let mut random = seed as u32 + 1;
    let mut local = || {
        random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (random >> 8) % LOCALS
    };
    let mut code = function.instructions();
    let mut loops = 0;
    for round in 0..bytes / ROUND_BYTES {
        if round % ROUNDS_PER_LOOP == 0 {
            code.loop_(BlockType::Empty);
            loops += 1;
        }
        code.local_get(local()).local_get(local()).i64_mul().local_get(local()).i64_xor();
        code.local_set(local());
    }
    for _ in 0..loops {
        code.local_get(local()).i32_wrap_i64().br_if(0).end();
    }
    code.end();
    function
}

/// What `publish` answers.
enum Published {
    Pass,
    /// What stands in the message.
    Echo,
    Replace(&'static str),
}

impl Published {
    /// Where the answer lies, and what lies there from the beginning.
    fn answer(&self) -> (i32, Vec<u8>) {
        match self {
            Self::Pass => (ANSWER, vec![]),
            Self::Echo => (INPUT + ECHOED_FROM as i32, vec![]),
            Self::Replace(payload) => {
                const TEXT: usize = 64;
                let mut answer = vec![0; TEXT];
                // Of a result, its verdict, and the patch's second field: the cases, address and length.
                (answer[4], answer[20]) = (1, 1);
                answer[24..28].copy_from_slice(&(ANSWER_WITH_TEXT + TEXT as i32).to_le_bytes());
                answer[28..32].copy_from_slice(&(payload.len() as i32).to_le_bytes());
                answer.extend_from_slice(payload.as_bytes());
                (ANSWER_WITH_TEXT, answer)
            }
        }
    }
}

fn module(manifest: &str, functions: &[Function], place: Place, published: &Published) -> Vec<u8> {
    let (published, data) = published.answer();
    let mut types = TypeSection::new();
    types.ty().function([], []);
    for parameters in [1, 2, 4] {
        types.ty().function(vec![ValType::I32; parameters], [ValType::I32]);
    }
    types.ty().function([ValType::I32], []);
    let mut section = FunctionSection::new();
    let mut code = CodeSection::new();
    let mut exports = ExportSection::new();
    for function in functions {
        section.function(NOTHING);
        code.function(function);
    }
    let mut export = |name: &str, of_type: u32, body: Function| {
        exports.export(name, ExportKind::Func, section.len());
        section.function(of_type);
        code.function(&body);
    };
    let giving = |number, here| {
        let mut function = Function::new([]);
        if here == Some(place) {
            function.instructions().call(BAD_THING);
        }
        if let Some(number) = number {
            function.instructions().i32_const(number);
        }
        function.instructions().end();
        function
    };
    let configure = giving(Some(ANSWER), Some(Place::Configure));
    export("hookmq:plugin/hooks@1.0.0#configure", TWO, configure);
    for hook in HOOKS {
        let (answer, here) = match hook {
            "publish" => (published, Some(Place::Publish)),
            _ => (ANSWER, None),
        };
        export(&format!("hookmq:plugin/hooks@1.0.0#{hook}"), ONE, giving(Some(answer), here));
    }
    let post_return = giving(None, Some(Place::PostReturn));
    export("cabi_post_hookmq:plugin/hooks@1.0.0#publish", ONE_FOR_NOTHING, post_return);
    export("cabi_realloc", FOUR, giving(Some(INPUT), Some(Place::Realloc)));
    exports.export("memory", ExportKind::Memory, 0);

    let mut tables = TableSection::new();
    tables.table(TableType {
        element_type: RefType::FUNCREF,
        table64: false,
        minimum: 1,
        maximum: None,
        shared: false,
    });
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 1,
        maximum: None,
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut globals = GlobalSection::new();
    let number = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    globals.global(number, &ConstExpr::i64_const(0));
    let mut segments = DataSection::new();
    segments.active(0, &ConstExpr::i32_const(published), data);
    let (name, data) = component_type();
    let mut module = Module::new();
    module.section(&types).section(&section).section(&tables).section(&memories);
    module.section(&globals).section(&exports);
    if place == Place::Start {
        module.section(&StartSection { function_index: BAD_THING });
    }
    module.section(&code).section(&segments);
    module.section(&CustomSection { name: name.into(), data: data.into() });
    let data = manifest.as_bytes().into();
    module.section(&CustomSection { name: "hookmq-manifest".into(), data });
    module.finish()
}

/// Says which world a module is made for, as every fixture does.
fn component_type() -> (String, Vec<u8>) {
    let fixture = artefact("asker");
    let sections = Parser::new(0).parse_all(&fixture).filter_map(Result::ok);
    let found = sections.into_iter().find_map(|payload| match payload {
        Payload::CustomSection(section) if section.name().starts_with("component-type") => {
            Some((section.name().to_owned(), section.data().to_vec()))
        }
        _ => None,
    });
    found.expect("a fixture has a component type")
}

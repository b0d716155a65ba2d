//! Retained messages: a register for each topic, written by one client.

use std::collections::{HashMap, VecDeque};

use super::message::{number, payload};

/// What is retained on a topic: a value by its number, or nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value {
    Nothing,
    Number(u64),
}

#[derive(Debug, Default)]
pub struct Registers {
    registers: Vec<Register>,
}

#[derive(Debug)]
struct Register {
    topic: String,
    acknowledged: Value,
    /// Written and not acknowledged, in this order: any of them may be there, or none.
    open: VecDeque<(u64, Value)>,
    writes: u64,
}

impl Registers {
    pub fn register(&mut self, topic: &str) -> usize {
        let (topic, open) = (topic.to_owned(), VecDeque::new());
        self.registers.push(Register { topic, acknowledged: Value::Nothing, open, writes: 0 });
        self.registers.len() - 1
    }

    pub fn topic(&self, register: usize) -> &str {
        &self.registers[register].topic
    }

    /// A value, or its removal, is about to be written; gives the number of the write.
    pub fn written(&mut self, register: usize, value: impl FnOnce(u64) -> Value) -> (u64, Value) {
        let register = &mut self.registers[register];
        register.writes += 1;
        let value = value(register.writes);
        register.open.push_back((register.writes, value));
        (register.writes, value)
    }

    /// PUBACK or PUBREC was read. What was written before is over.
    pub fn acknowledged(&mut self, register: usize, write: u64) {
        let register = &mut self.registers[register];
        while let Some((number, value)) = register.open.pop_front_if(|(it, _)| *it <= write) {
            if number == write {
                register.acknowledged = value;
            }
        }
    }

    pub fn payload(&self, register: usize, value: Value) -> Vec<u8> {
        match value {
            Value::Nothing => Vec::new(),
            Value::Number(number) => payload(self.topic(register), number),
        }
    }

    /// What is wrong with `seen`, the payloads by topic, read while nobody wrote.
    pub fn compare(&self, seen: &HashMap<String, Vec<u8>>) -> Vec<String> {
        let mut wrong = Vec::new();
        for register in &self.registers {
            let value = match seen.get(&register.topic) {
                None => Some(Value::Nothing),
                Some(bytes) => number(&register.topic, bytes).map(Value::Number),
            };
            let fits = |value: Value| {
                value == register.acknowledged || register.open.iter().any(|it| it.1 == value)
            };
            if !value.is_some_and(fits) {
                wrong.push(format!(
                    "{}: {:?} was acknowledged, and not {:?}; retained is {value:?}",
                    register.topic, register.acknowledged, register.open
                ));
            }
        }
        let known = |topic: &str| self.registers.iter().any(|it| it.topic == topic);
        let invented = seen.keys().filter(|topic| !known(topic));
        wrong.extend(invented.map(|topic| format!("{topic}: nobody has written it")));
        wrong
    }
}

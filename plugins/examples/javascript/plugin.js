// Adds fields to JSON objects on their way through the broker.
//
// Configuration: {"add": {"site": "plant-7"}}. A message's own fields stay as they are.

import { write } from "hookmq:plugin/log@1.0.0";

const INVALID_PAYLOAD_FORMAT = 0x99;

const decoder = new TextDecoder("utf-8", { fatal: true });
const encoder = new TextEncoder();
let add = {};

function parse(payload) {
  try {
    return JSON.parse(decoder.decode(payload));
  } catch {
    return undefined;
  }
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// What a hook throws as a string is its `result`'s error.
export const hooks = {
  configure(config) {
    const { add: fields = {} } = JSON.parse(config) ?? {};
    if (!isObject(fields)) throw "`add` is not an object";
    add = fields;
  },

  publish(_client, message) {
    const value = parse(message.payload);
    if (value === undefined) {
      write("warn", `no JSON on ${message.topic}`);
      return { tag: "drop", val: INVALID_PAYLOAD_FORMAT };
    }
    if (!isObject(value)) return { tag: "pass" };
    const payload = encoder.encode(JSON.stringify({ ...add, ...value }));
    return { tag: "replace", val: { payload } };
  },

  // The manifest does not name these, so they are never called.
  connect: () => { throw "not a connect step"; },
  authorize: () => { throw "not an authorize step"; },
  deliver: () => { throw "not a deliver step"; },
};

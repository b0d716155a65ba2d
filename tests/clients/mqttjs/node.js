// One scenario in Node: node.js URL VERSION SCENARIO.

"use strict";

const mqtt = require("mqtt");
const scenarios = require("./scenarios.js");

const [url, version, scenario] = process.argv.slice(2);

scenarios[scenario]({ mqtt, Buffer, url, version }).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);

// Scenarios in Node: node.js URL VERSION [SCENARIO]...

"use strict";

const mqtt = require("mqtt");
const play = require("./scenarios.js");

const [url, version, ...names] = process.argv.slice(2);

play({ mqtt, url, version }, names).then(
  () => process.exit(0),
  (error) => {
    console.error(error);
    process.exit(1);
  },
);

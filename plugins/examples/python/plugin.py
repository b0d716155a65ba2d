"""Drops readings that no sensor can have measured.

Configuration: {"ranges": {"temperature": [-60, 60]}}. A field of a JSON object that has a range and is
no number within it drops the message; payloads of other kinds pass.
"""

import json

from componentize_py_types import Err
from wit_world import exports
from wit_world.imports import log
from wit_world.imports.log import Level
from wit_world.imports.types import PublishVerdict_Drop, PublishVerdict_Pass

PAYLOAD_FORMAT_INVALID = 0x99

ranges = {}


def is_within(value, low, high):
    return type(value) in (int, float) and low <= value <= high


class Hooks(exports.Hooks):
    def configure(self, config):
        settings = json.loads(config) or {}
        try:
            for field, (low, high) in settings.get("ranges", {}).items():
                ranges[field] = (float(low), float(high))
        except (TypeError, ValueError, AttributeError):
            raise Err("`ranges` has to be of the form {field: [low, high]}")

    def publish(self, client, message):
        try:
            reading = json.loads(message.payload)
        except ValueError:
            return PublishVerdict_Pass()
        if not isinstance(reading, dict):
            return PublishVerdict_Pass()
        for field, (low, high) in ranges.items():
            if field in reading and not is_within(reading[field], low, high):
                log.write(Level.WARN, f"{field} is {reading[field]!r} on {message.topic}")
                return PublishVerdict_Drop(PAYLOAD_FORMAT_INVALID)
        return PublishVerdict_Pass()

    # The manifest does not name these, so they are never called; the class has to have them.

    def connect(self, attempt):
        raise Err("not a connect step")

    def authorize(self, client, access):
        raise Err("not an authorize step")

    def deliver(self, client, message):
        raise Err("not a deliver step")

"""Write the JSON schema of the weights manifest from the rules that its dataclasses declare.

python tools/manifest_schema.py            # writes weights_manifest.schema.json
python tools/manifest_schema.py --check    # exit status 1 where the file is not what would be written
"""

import argparse
import inspect
import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from senet_zoo.formats.metadata import INDEX, LABELS, Logits
from senet_zoo.networks.specs import SE
from senet_zoo.support.json_fields import (
    NOT_BLANK,
    FieldRule,
    Flag,
    Items,
    Member,
    Nullable,
    Number,
    OneOf,
    Record,
    Table,
    Text,
    Whole,
    rules_of,
)
from senet_zoo.weights.manifest import ManifestFile
from senet_zoo.weights.rows import Gate, HashOf, LabelCount

ROOT = Path(__file__).parents[1]
Schema = dict[str, Any]


def main() -> int:
    """Write or check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    file = ROOT / "weights_manifest.schema.json"
    made = json.dumps(manifest_schema(), indent=2) + "\n"
    if args.check:
        same = file.is_file() and file.read_text() == made
        if not same:
            print(f"{file.name} is not what python tools/manifest_schema.py writes; run it", file=sys.stderr)
        return int(not same)
    file.write_text(made)
    return 0


def manifest_schema() -> Schema:
    """The schema; what spans fields, such as that ``default`` names one of the tags, only the reader can say."""
    definitions: Schema = {}
    top = schema_of(Record(ManifestFile), definitions)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "senet_zoo weights manifest",
        "description": "Which checkpoints exist, where their files lie, how to feed them and how good they are. What "
        "is not known is null. Made by tools/manifest_schema.py of the rules that senet_zoo.weights.manifest reads by.",
        **top,
        "$defs": definitions,
    }


def schema_of(rule: FieldRule, definitions: Schema) -> Schema:
    """The schema of a rule; those of its dataclasses are put into ``definitions``."""
    match rule:
        case Text():
            return {"type": "string", "pattern": r"\S" if rule.pattern == NOT_BLANK else f"^(?:{rule.pattern})$"}
        case Member():
            return {"enum": list(rule.words)}
        case Whole():
            return {"type": "integer", "minimum": rule.low, "maximum": rule.high}
        case Number():
            return {"type": "number", "minimum": rule.low, "maximum": rule.high}
        case Gate():
            return {"type": "object", "propertyNames": {"enum": [each.name for each in fields(SE)]}}
        case Flag():
            return {"type": "boolean"}
        case Nullable():
            return {"anyOf": [schema_of(rule.rule, definitions), {"type": "null"}]}
        case Items():
            most = {} if rule.most is None else {"maxItems": rule.most}
            return {"type": "array", "items": schema_of(rule.item, definitions), "minItems": rule.least, **most}
        case Table():
            return table(rule.pattern, schema_of(rule.item, definitions))
        case Logits():
            return {**table(INDEX, schema_of(rule.logit, definitions)), "maxProperties": rule.most}
        case OneOf():
            return {"oneOf": [defined(cls, definitions, kind) for kind, cls in rule.kinds.items()]}
        case Record():
            return defined(rule.cls, definitions)
    raise TypeError(f"{type(rule).__name__} has no JSON schema; give it one in {Path(__file__).name}")


def table(pattern: str, item: Schema) -> Schema:
    """An object that is not empty, whose keys match ``pattern``."""
    keys = {"pattern": f"^(?:{pattern})$"}
    return {"type": "object", "minProperties": 1, "propertyNames": keys, "additionalProperties": item}


def defined(cls: type[Any], definitions: Schema, kind: str | None = None) -> Schema:
    """A reference to the schema of a dataclass, which is added where it is new."""
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}  # its place in the file comes before that of its fields' classes
        definitions[cls.__name__] = record(cls, definitions, kind)
    return {"$ref": f"#/$defs/{cls.__name__}"}


def record(cls: type[Any], definitions: Schema, kind: str | None) -> Schema:
    """An object of exactly the fields of a dataclass, each described as its docstring does."""
    text = inspect.getdoc(cls) or ""
    said = dict(re.findall(r"^    (\w+): (.*(?:\n        .*)*)", text, re.MULTILINE))
    rules = rules_of(cls)
    properties: Schema = {} if kind is None else {"kind": {"const": kind}}
    for name, rule in rules.items():
        description = " ".join(said[name].replace("``", "").replace("`", "").split())
        properties[name] = {"description": description, **schema_of(rule, definitions)}
    lacking = {name for name, rule in rules.items() if isinstance(rule, Nullable) and rule.may_lack}
    schema: Schema = {
        "description": text.partition("\n")[0],
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in lacking],
        "additionalProperties": False,
    }
    if any(isinstance(rule, HashOf) for rule in rules.values()):
        proven = {"required": ["sha1"], "properties": {"sha1": {"type": "string"}}}
        schema["allOf"] = [{"if": {"properties": {"sha256_prefix": {"type": "null"}}}, "then": proven}]
    if any(isinstance(rule, LabelCount) for rule in rules.values()):
        schema["allOf"] = [
            {"if": {"properties": {"labels": {"const": labels}}}, "then": {"properties": {"num_classes": {"const": n}}}}
            for labels, n in LABELS.items()
        ]
    return schema


if __name__ == "__main__":
    sys.exit(main())

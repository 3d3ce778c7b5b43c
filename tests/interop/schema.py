"""What the program prints as JSON Schemas, held to validators that others wrote: Python's jsonschema,
and taplo, which editors use for TOML. Its JUnit XML, held to Jenkins' own schema by libxml2.

Reads PUSHER_CANARY_INTEROP_TARGET: {"program": path, "root": path, "sdk": path}. Prints one JSON line
for each check: {"check": name, "ok": true}, or false with a "detail".

main.rs learns the checks' names from the lines that begin with `@check('`.
"""

import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import tomllib
import traceback

import jsonschema
import lxml.etree

TARGET = json.loads(os.environ["PUSHER_CANARY_INTEROP_TARGET"])
ROOT = pathlib.Path(TARGET["root"])
Validator = jsonschema.Draft202012Validator
CHECKS = []


def check(name):
    def register(run):
        CHECKS.append((name, run))
        return run

    return register


def program(*arguments):
    # Its exit code says what the verdict is; here only what it prints counts.
    done = subprocess.run([TARGET["program"], *arguments], capture_output=True, timeout=60)
    return done.stdout.decode()


@functools.cache
def validator(name):
    return Validator(json.loads(program("schema", name)), format_checker=Validator.FORMAT_CHECKER)


def errors(name, value):
    return [f"{list(e.absolute_path)}: {e.message}" for e in validator(name).iter_errors(value)]


def scenarios(folder, pattern):
    found = sorted((ROOT / folder).glob(pattern))
    assert found, f"no scenarios in {folder}"
    return found


@check('python: every schema is one by its metaschema')
def _():
    for name in ("scenario", "report", "gate"):
        schema = validator(name).schema
        assert schema["$schema"] == Validator.META_SCHEMA["$id"], schema["$schema"]
        Validator.check_schema(schema)


@check('python: a report of now, and those of earlier versions, keep the schema')
def _():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        program("rehearse", "--duration", "1s", "--report-json", path)
        report = json.loads(pathlib.Path(path).read_text())
        pool = json.loads(program("gate", "--report", path, "--no-history", "--report-json", "-"))
    assert errors("report", report) == [], errors("report", report)
    assert errors("gate", pool) == [], errors("gate", pool)
    del report["verdict"]
    assert errors("report", report) == ["[]: 'verdict' is a required property"]
    for path in (ROOT / "tests/fixtures/reports").glob("*.json"):
        report = json.loads(path.read_text())
        assert errors("report", report) == [], errors("report", report)


@check('python: sound scenarios keep the schema, and mistakes of form break it')
def _():
    sound = scenarios("scenarios", "*.toml") + scenarios("tests/fixtures/scenarios", "[vw]*.toml")
    for path in sound:
        found = errors("scenario", tomllib.loads(path.read_text()))
        assert found == [], f"{path}: {found}"
    for name in ("types", "ranges", "unknown-key", "urls", "secrets", "missing-identity"):
        path = ROOT / f"tests/fixtures/scenarios/invalid-{name}.toml"
        assert errors("scenario", tomllib.loads(path.read_text())), path


@check('taplo: a scenario that names the schema is held to it')
def _():
    taplo = ["node", f"{TARGET['sdk']}/node_modules/@taplo/cli/dist/cli.js", "lint"]
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "scenario.schema.json").write_text(program("schema", "scenario"))

        def lint(text):
            path = pathlib.Path(folder, "scenario.toml")
            path.write_text(f"#:schema ./scenario.schema.json\n{text}")
            done = subprocess.run([*taplo, path], capture_output=True, timeout=60, cwd=folder)
            return done.returncode, done.stderr.decode()

        for path in scenarios("scenarios", "*.toml"):
            assert lint(path.read_text())[0] == 0, lint(path.read_text())
        code, said = lint((ROOT / "tests/fixtures/scenarios/invalid-unknown-key.toml").read_text())
        assert code != 0 and "'witneses'" in said, said


@check('lxml: JUnit XML of each kind of test case keeps the schema that Jenkins has of it')
def _():
    schema = lxml.etree.XMLSchema(file=ROOT / "tests/fixtures/junit/jenkins-junit-4.xsd")
    seen = set()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "report.json")
        lossy = ["--fault", "new:drop=0.5", "--report-json", path]
        for arguments in (
            ["rehearse", "--duration", "1s"],
            ["rehearse", "--duration", "1s", *lossy],
            ["gate", "--report", path, "--no-history"],
        ):
            text = program(*arguments, "--report-junit", "-")
            suites = lxml.etree.fromstring(text.encode())
            schema.assertValid(suites)
            seen |= {case[0].tag if len(case) else "passed" for case in suites.iter("testcase")}
    assert seen == {"passed", "failure", "error", "skipped"}, seen
    # The schema has teeth.
    del suites.find("testsuite").attrib["name"]
    assert not schema.validate(suites)


def main():
    for name, run in CHECKS:
        line = {"check": name, "ok": True}
        try:
            run()
        except Exception:
            line = {"check": name, "ok": False, "detail": traceback.format_exc()}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(main())

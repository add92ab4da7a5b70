#!/usr/bin/python3
"""Writes docs/reference.md: the contract, as the comments of proto/tidegate/v1/*.proto tell it.

usage: scripts/reference.py [--check]

With --check nothing is written: exits 1, with the difference, when the page is not what it would write.
Either way it refuses a contract with a message, an enum, an rpc or a verdict that nobody explains.
Needs protoc and python3-protobuf, those of Debian: hence the interpreter above, whatever PATH says.
"""

import difflib
import glob
import os
import re
import subprocess
import sys
import tempfile

from google.protobuf import descriptor_pb2 as pb

TREE = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = "docs/reference.md"
PACKAGE = ".tidegate.v1."

HEAD = """# Reference of the contract

<!-- Made of the comments in proto/tidegate/v1/ by `make reference`: change them there. -->

Every request, message and enum of [`proto/tidegate/v1/`](../proto/tidegate/v1/), made of the comments there
(`make reference`; `make check-docs` looks whether it is in step). How the messages travel, and in which order
an order is decided, is told by [protocol.md](protocol.md); what becomes of orders, teams and events by
[order-life.md](order-life.md), [group-buy.md](group-buy.md) and [outbox.md](outbox.md).

"""

SCALARS = {
    value: name[len("TYPE_"):].lower()
    for name, value in pb.FieldDescriptorProto.Type.items()
}


def read_contract():
    """The descriptors of all files of the contract, with their comments."""
    protos = sorted(glob.glob(f"{TREE}/proto/tidegate/v1/*.proto"))
    with tempfile.NamedTemporaryFile() as out:
        subprocess.run(
            ["protoc", f"--proto_path={TREE}/proto", "--include_source_info", "--include_imports",
             f"--descriptor_set_out={out.name}", *protos], check=True)
        files = pb.FileDescriptorSet.FromString(out.read()).file
    # The messages before the services that use them.
    return sorted((f for f in files if "." + f.package + "." == PACKAGE),
                  key=lambda f: (len(f.service), f.name))


def linked(text):
    """A comment as Markdown: its pages are links, its columns do not break a table."""
    text = re.sub(r"\bdocs/([a-z-]+\.md)", r"[\1](\1)", text)
    return re.sub(r"(?<!\\)\|", r"\\|", text).replace("<", "&lt;")


class Comments:
    """The comments of a file, by the path of what they stand before."""

    def __init__(self, file):
        self.of = {tuple(at.path): at.leading_comments for at in file.source_code_info.location}
        # What stands at the top of the file, before `syntax`.
        syntax = [at for at in file.source_code_info.location if tuple(at.path) == (12,)]
        self.top = "".join([*syntax[0].leading_detached_comments, syntax[0].leading_comments])

    def paragraphs(self, *path):
        text = self.top if path == () else self.of.get(path, "")
        parts = re.split(r"\n\s*\n", "\n".join(line.strip() for line in text.splitlines()))
        return [linked(" ".join(part.split())) for part in parts if part.strip()]

    def line(self, *path):
        return " ".join(self.paragraphs(*path))


class Contract:
    """What the page shows, and where each name stands in it."""

    def __init__(self, files):
        self.messages, self.enums, self.services, self.tops = {}, {}, [], []
        self.missing = []
        for file in files:
            comments = Comments(file)
            self.tops.append(comments.paragraphs())
            for i, message in enumerate(file.message_type):
                self.messages[message.name] = (message, comments, (4, i))
            for i, enum in enumerate(file.enum_type):
                self.enums[enum.name] = (enum, comments, (5, i))
            for i, service in enumerate(file.service):
                self.services.append((service, comments, (6, i)))
        # What is asked, without "Request": the kinds of the native protocol and the calls of gRPC.
        self.native = {}
        for field in self.messages["Request"][0].field:
            if field.HasField("oneof_index"):
                self.native[field.type_name[len(PACKAGE):-len("Request")]] = field
        self.calls = {}
        for service, _, _ in self.services:
            for method in service.method:
                self.calls[method.name] = method
        self.asked = list(self.native) + [name for name in self.calls if name not in self.native]

    def anchor(self, name):
        for end in ("Request", "Response"):
            if name.endswith(end) and name[:-len(end)] in self.asked:
                return name[:-len(end)].lower()
        return name.lower()

    def type_of(self, field):
        if field.type_name:
            name = field.type_name[len(PACKAGE):]
            text = f"[{name}](#{self.anchor(name)})"
        else:
            text = SCALARS[field.type]
        return ("repeated " if field.label == field.LABEL_REPEATED else "") + text

    def explain(self, what, text):
        if not text:
            self.missing.append(what)
        return text


def table(head, rows):
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(str(cell) for cell in row) + " |"
    yield ""


def fields(contract, name):
    """The table of a message's fields; members of a oneof say so."""
    message, comments, path = contract.messages[name]
    if not message.field:
        yield "No fields."
        yield ""
        return
    rows = []
    for i, field in enumerate(message.field):
        text = comments.line(*path, 2, i)
        if field.name == "verdict":
            contract.explain(f"{name}.verdict", text)
        if field.HasField("oneof_index"):
            oneof = f"One of `{message.oneof_decl[field.oneof_index].name}`."
            text = f"{oneof} {text}".strip()
        rows.append((field.number, f"`{field.name}`", contract.type_of(field), text))
    yield from table(("no.", "field", "type", "meaning"), rows)


def message_text(contract, name):
    _, comments, path = contract.messages[name]
    text = comments.paragraphs(*path)
    contract.explain(name, text)
    for paragraph in text:
        yield paragraph
        yield ""


def overview(contract):
    yield "## Requests"
    yield ""
    yield ("`kind` is the field of [Request](#request) and [Response](#response) on the native protocol"
           + (", gRPC how the call answers there." if contract.calls else "."))
    yield ""
    rows = []
    for name in contract.asked:
        text = " ".join(message_text(contract, name + "Request")).split(". ")[0].strip().rstrip(".")
        kind = f"`{contract.native[name].name}` = {contract.native[name].number}" \
            if name in contract.native else "-"
        row = [f"[{name}](#{name.lower()})", kind]
        if contract.calls:
            call = contract.calls.get(name)
            row.append("-" if not call else "stream" if call.server_streaming else "unary")
        rows.append((*row, text))
    head = ["request", "kind"] + (["gRPC"] if contract.calls else []) + ["what it is for"]
    yield from table(head, rows)


def requests(contract):
    for name in contract.asked:
        yield f"### {name}"
        yield ""
        yield from message_text(contract, name + "Request")
        for end in ("Request", "Response"):
            if name + end not in contract.messages:
                continue
            text = "" if end == "Request" else " ".join(message_text(contract, name + end)).strip()
            yield f"**{name}{end}**" + (f": {text}" if text else "")
            yield ""
            yield from fields(contract, name + end)


def services(contract):
    if not contract.services:
        return
    yield "## Services"
    yield ""
    for service, comments, path in contract.services:
        yield f"### {service.name}"
        yield ""
        text = comments.paragraphs(*path)
        contract.explain(service.name, text)
        for paragraph in text:
            yield paragraph
            yield ""
        rows = []
        for i, method in enumerate(service.method):
            name = method.input_type[len(PACKAGE):]
            stream = "stream " if method.server_streaming else ""
            answer = method.output_type[len(PACKAGE):]
            rows.append((f"`{method.name}`", f"[{name}](#{contract.anchor(name)})",
                         f"{stream}[{answer}](#{contract.anchor(answer)})",
                         comments.line(*path, 2, i)))
        yield from table(("rpc", "takes", "answers", "meaning"), rows)


def shared_messages(contract):
    yield "## Messages"
    yield ""
    asked = {name + end for name in contract.asked for end in ("Request", "Response")}
    for name in contract.messages:
        if name in asked:
            continue
        yield f"### {name}"
        yield ""
        yield from message_text(contract, name)
        yield from fields(contract, name)


def enums(contract):
    yield "## Enums"
    yield ""
    for name, (enum, comments, path) in contract.enums.items():
        yield f"### {name}"
        yield ""
        text = comments.paragraphs(*path)
        contract.explain(name, text)
        for paragraph in text:
            yield paragraph
            yield ""
        rows = [(value.number, f"`{value.name}`", comments.line(*path, 2, i))
                for i, value in enumerate(enum.value)]
        yield from table(("no.", "value", "meaning"), rows)


def page(contract):
    lines = ["## What holds everywhere", ""]
    for top in contract.tops:
        for paragraph in top:
            lines += [paragraph, ""]
    for part in (overview, services, requests, shared_messages, enums):
        lines += part(contract)
    return HEAD + "\n".join(lines).rstrip("\n") + "\n"


def main():
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit(__doc__)
    contract = Contract(read_contract())
    text = page(contract)
    if contract.missing:
        sys.exit("reference: nobody explains " + ", ".join(dict.fromkeys(contract.missing))
                 + ": put a comment before each in proto/tidegate/v1/")
    path = os.path.join(TREE, PAGE)
    if not sys.argv[1:]:
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        return
    found = open(path, encoding="utf-8").read() if os.path.exists(path) else ""
    if found != text:
        sys.stdout.writelines(list(difflib.unified_diff(
            found.splitlines(True), text.splitlines(True), PAGE, "as the contract is"))[:60])
        sys.exit(f"reference: {PAGE} is not in step with proto/tidegate/v1/: run `make reference`")
    print(f"reference: {PAGE} tells the contract as it is, {len(contract.asked)} requests")


if __name__ == "__main__":
    main()

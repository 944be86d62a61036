#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""policy_test.py SOURCE_DIR REGISTRY_DIR: what the generator says of names in policy.toml.

A name that names nothing stops it with one sentence. Neither a newer registry nor an extension that
is provisional is stopped by names.
"""

from __future__ import annotations

import pickle
import re
import sys
import tempfile
import unittest
from pathlib import Path

SOURCE = Path(sys.argv[1])
REGISTRY = Path(sys.argv[2]) / "vk.xml"
sys.path.insert(0, str(SOURCE / "codegen"))

import policy as policy_module  # noqa: E402
import registry as registry_module  # noqa: E402
from lock import Lock  # noqa: E402
from model import Model  # noqa: E402
from policy import CachedRule, ClassRule, Conditional, Policy  # noqa: E402
from registry import RegistryError  # noqa: E402


def load_policy() -> Policy:
    return policy_module.load(SOURCE / "codegen" / "policy.toml")


def parse(text: str) -> bytes:
    """A registry, packed: each model needs one of its own, and reading the XML takes long."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vk.xml"
        path.write_text(text)
        return pickle.dumps(registry_module.load([path, SOURCE / "codegen" / "vesper.xml"]))


AS_IT_IS = parse(REGISTRY.read_text())


def build(policy: Policy, text: str | None = None, newer: bool = False) -> tuple[Model, Lock]:
    """The model of the registry, or of `text` in its place. `newer`: than the lock."""
    registry = pickle.loads(AS_IT_IS if text is None else parse(text))
    lock = Lock.load(SOURCE / "proto" / "schema.lock")
    # Whatever the build's own registry is, it counts as the lock's here.
    registry.header_version = lock.registry + int(newer)
    lock.begin(registry.header_version, update=False)
    return Model(registry, policy, lock), lock


def edited(*changes: tuple[str, str]) -> str:
    text = REGISTRY.read_text()
    for old, new in changes:
        assert old in text, old
        text = text.replace(old, new)
    return text


# What puts a name that is nowhere into each table, and the name.
UNKNOWN = {
    "extensions.authors": (lambda p: p.authors.append("NOBODY"), "NOBODY"),
    "extensions.instance": (
        lambda p: p.instance_extensions.append("VK_KHR_nothing"), "VK_KHR_nothing"),
    "extensions.guest": (
        lambda p: p.guest_extensions.append("VK_KHR_nothing"), "VK_KHR_nothing"),
    "extensions.excluded": (
        lambda p: p.excluded.update(VK_KHR_nothing="never"), "VK_KHR_nothing"),
    "class 'call'": (
        lambda p: p.classes.append(ClassRule("call", ["vkNothing*"], "never")), "vkNothing*"),
    "cached": (
        lambda p: p.cached.append(CachedRule(["vkNothing"], None, "never")), "vkNothing"),
    "custom.guest": (lambda p: p.custom_guest.add("vkNothing"), "vkNothing"),
    "custom.host": (lambda p: p.custom_host.add("vkNothing"), "vkNothing"),
    "memory.release": (lambda p: p.release.add("vkNothing"), "vkNothing"),
    "memory.observe": (lambda p: p.observe.add("vkNothing"), "vkNothing"),
    "memory.copies": (lambda p: p.copies.add("vkNothing"), "vkNothing"),
    "memory.draws": (lambda p: p.draws.add("vkNothing"), "vkNothing"),
    "memory.names": (lambda p: p.memory_names.add("vkNothing"), "vkNothing"),
    "writes 'exact'": (
        lambda p: p.writes.append(ClassRule("exact", ["vkQueueSubmit"], "never")), "vkQueueSubmit"),
    "conditional": (
        lambda p: p.conditional.update({"VkSubmitInfo.nothing": Conditional("true", "never")}),
        "VkSubmitInfo.nothing"),
    "lenient": (lambda p: p.lenient.add("VkNothing.member"), "VkNothing.member"),
    "required": (lambda p: p.required_structs.add("VkNothing"), "VkNothing"),
    "dropped.types": (lambda p: p.dropped_types.add("VkNothing"), "VkNothing"),
    "dropped.members": (
        lambda p: p.dropped_members.add("VkSubmitInfo.nothing"), "VkSubmitInfo.nothing"),
    "dropped_structs": (lambda p: p.dropped_structs.update(VkNothing="never"), "VkNothing"),
    "layouts": (lambda p: p.layouts.add("VkSubmitInfo.nothing"), "VkSubmitInfo.nothing"),
    "opaque": (lambda p: p.opaque.add("vkQueueSubmit.nothing"), "vkQueueSubmit.nothing"),
    "untyped": (
        lambda p: p.untyped.update({"vkGetPipelinePropertiesEXT.pPipelineProperties": "VkNothing"}),
        "VkNothing"),
    "selections": (
        lambda p: p.selections.update({"VkDescriptorDataEXT.accelerationStructure": ["VK_NOTHING"]}),
        "VK_NOTHING"),
    "plain_unions": (lambda p: p.plain_unions.add("VkSubmitInfo"), "VkSubmitInfo"),
    "masked": (
        lambda p: p.masked.update({"VkPhysicalDeviceFeatures.nothing": "never"}),
        "VkPhysicalDeviceFeatures.nothing"),
    "inout": (lambda p: p.inout.add("vkQueueSubmit.nothing"), "vkQueueSubmit.nothing"),
    "nested_length": (
        lambda p: p.nested_lengths.update(
            {"vkCmdBuildAccelerationStructuresKHR.ppBuildRangeInfos": ("pInfos", "nothing")}),
        "VkAccelerationStructureBuildGeometryInfoKHR.nothing"),
    "lengths": (
        lambda p: p.lengths.update({"vkQueueSubmit.nothing": "submitCount"}),
        "vkQueueSubmit.nothing"),
}  # fmt: skip

# Rules for what exists, where they change nothing.
IDLE = {
    "conditional": lambda p: p.conditional.update(
        {"VkBufferCreateInfo.size": Conditional("true", "never")}),
    "lenient": lambda p: p.lenient.add("VkBufferCreateInfo.size"),
    "required": lambda p: p.required_structs.add("VkExtent2D"),
    "dropped.members": lambda p: p.dropped_members.add("vkUpdateDescriptorSetWithTemplate.pData"),
    "inout": lambda p: p.inout.add("vkQueueSubmit.pSubmits"),
    "lengths": lambda p: p.lengths.update({"vkQueueSubmit.submitCount": "submitCount"}),
    "custom.host": lambda p: p.custom_host.add("vkMapMemory"),
    "cached": lambda p: p.cached.append(CachedRule(["vkDestroyBuffer"], None, "never")),
}  # fmt: skip


class PolicyTest(unittest.TestCase):
    def assert_refused(self, policy: Policy, *parts: str) -> None:
        with self.assertRaises(RegistryError) as refusal:
            build(policy)
        sentence = str(refusal.exception)
        for part in ("policy.toml: ", *parts):
            self.assertIn(part, sentence)
        self.assertNotIn("\n", sentence)

    def test_what_is_pushed_must_be_by_hand(self):
        policy = load_policy()
        policy.custom_guest.remove("vkGetBufferDeviceAddress")
        with self.assertRaisesRegex(RegistryError, "vkGetBufferDeviceAddress is of class 'push'"):
            build(policy)

    def test_the_policy_as_it_is(self) -> None:
        model, lock = build(load_policy())
        self.assertEqual(lock.left_out, [])
        self.assertGreater(len(model.commands), 400)

    def test_a_name_that_names_nothing_stops_the_generator(self) -> None:
        for table, (change, name) in UNKNOWN.items():
            with self.subTest(table):
                policy = load_policy()
                change(policy)
                self.assert_refused(policy, f"{table} names {name}, but the registry has no such")

    def test_every_table_is_covered(self) -> None:
        # A new table of names needs a check and a line above.
        tables = set(Policy.__annotations__)
        self.assertEqual(len(tables), len(UNKNOWN))

    def test_a_rule_without_effect_stops_the_generator(self) -> None:
        for table, change in IDLE.items():
            with self.subTest(table):
                policy = load_policy()
                change(policy)
                self.assert_refused(policy, f"{table} names ", "has no effect: take it out")

    def test_a_draw_that_names_a_buffer_has_to_say_so(self) -> None:
        policy = load_policy()
        policy.memory_names.remove("vkCmdDrawIndirect")
        self.assert_refused(policy, "memory.draws names vkCmdDrawIndirect", "put it into memory.names")

    def test_an_alias_is_not_the_name(self) -> None:
        policy = load_policy()
        policy.custom_guest.add("vkGetCalibratedTimestampsEXT")
        self.assert_refused(policy, "custom.guest names vkGetCalibratedTimestampsEXT")

    def test_a_length_by_an_unknown_member(self) -> None:
        policy = load_policy()
        policy.lengths["vkGetAccelerationStructureBuildSizesKHR.pMaxPrimitiveCounts"] = (
            "pBuildInfo->nothing"
        )
        with self.assertRaisesRegex(RegistryError, "'pBuildInfo->nothing' is not understood"):
            build(policy)

    def test_names_do_not_stop_a_newer_registry(self) -> None:
        for table, (change, _) in UNKNOWN.items():
            if table in ("untyped", "nested_length"):
                continue  # these say how something is encoded: without them it cannot be
            with self.subTest(table):
                policy = load_policy()
                change(policy)
                model, _ = build(policy, newer=True)
                self.assertGreater(len(model.commands), 400)

    def test_names_do_not_stop_a_provisional_extension(self) -> None:
        # The rules for its parameters and structs stay, and wait for it.
        name = '<extension name="VK_EXT_pipeline_properties"'
        text = edited((name, name + ' provisional="true"'))
        model, _ = build(load_policy(), text)
        self.assertEqual(model.left_out["VK_EXT_pipeline_properties"], "provisional")
        self.assertNotIn("vkGetPipelinePropertiesEXT", [c.name for c in model.commands])

    def test_names_do_not_stop_an_extension_that_is_left_out(self) -> None:
        policy = load_policy()
        policy.excluded["VK_EXT_descriptor_buffer"] = "for this test"
        model, _ = build(policy)
        self.assertNotIn("vkGetDescriptorEXT", [c.name for c in model.commands])

    def test_a_promoted_command_keeps_its_name(self) -> None:
        # Entry points that are written by hand are found by it.
        text = edited(
            ("<name>vkGetCalibratedTimestampsKHR</name>", "<name>vkGetCalibratedTimestamps</name>"),
            ('name="vkGetCalibratedTimestampsEXT" alias="vkGetCalibratedTimestampsKHR"/>',
             'name="vkGetCalibratedTimestampsEXT" alias="vkGetCalibratedTimestamps"/>'
             '<command name="vkGetCalibratedTimestampsKHR" alias="vkGetCalibratedTimestamps"/>'),
        )  # fmt: skip
        model, _ = build(load_policy(), text, newer=True)
        found = {command.name: command for command in model.commands}
        self.assertNotIn("vkGetCalibratedTimestamps", found)
        command = found["vkGetCalibratedTimestampsKHR"]
        self.assertTrue(command.guest_custom)
        self.assertEqual(
            sorted(command.command.aliases),
            ["vkGetCalibratedTimestamps", "vkGetCalibratedTimestampsEXT"],
        )
        self.assertIn("vkGetCalibratedTimestampsEXT", command.providers)

    def test_a_promoted_struct_keeps_its_rules(self) -> None:
        old = "VkPipelineCreationFeedbackCreateInfo"
        new = "VkPipelineCreationFeedbackCreateInfo2"
        text = edited(
            (f'name="{old}"', f'name="{new}"'),
            (f'alias="{old}"/>',
             f'alias="{new}"/><type category="struct" name="{old}" alias="{new}"/>'),
        )  # fmt: skip
        model, _ = build(load_policy(), text, newer=True)
        self.assertNotIn(new, model.records)
        self.assertNotIn(old, model.records)

    def test_an_alias_of_a_revision_is_no_revision(self) -> None:
        registry = pickle.loads(AS_IT_IS)
        revisions = {provider.name: provider.spec_version for provider in registry.providers}
        # Its constant was renamed, and the old name is an alias without a value, which comes later.
        self.assertGreaterEqual(revisions["VK_KHR_maintenance1"], 2)

    def test_each_call_that_moves_mapped_memory_is_tested_alone(self) -> None:
        # The tables of that test name each command at the beginning of an entry.
        text = (SOURCE / "tests" / "wire" / "memory_sync_test.cpp").read_text()
        releasing, _, rest = text.partition("Releasing() {")[2].partition("Observing() {")
        tables = {"release": releasing, "observe": rest.partition("protected:")[0]}
        policy = load_policy()
        for kind, names in (("release", policy.release), ("observe", policy.observe)):
            tested = set(re.findall(r'\{"(\w+)"', tables[kind]))
            self.assertEqual(tested, set(names), f"the table of what may {kind}")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])

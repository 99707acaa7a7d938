"""TFRecord: TensorFlow's own files to the byte, protobuf's own reader and writer, every kind of damage in one line."""

import io
import random
import struct
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from hypothesis import given, settings
from hypothesis import strategies as st

from framecast.data.formats.tfrecord import masked_crc, read_example, read_records, write_example, write_records
from framecast.errors import UserError
from tests.conftest import ROOT

SHARED = ROOT / ".." / "shared" / "data" / "bair" / "softmotion30_44k"
FIELD = descriptor_pb2.FieldDescriptorProto


def example_class(*, packed: bool) -> type:
    """``tf.train.Example``, described by hand to the protobuf package."""
    file = descriptor_pb2.FileDescriptorProto(name=f"example_{packed}.proto", package=f"p{packed}", syntax="proto3")

    def message(name: str, *fields: tuple[str, int, int, int, str]) -> descriptor_pb2.DescriptorProto:
        made = file.message_type.add(name=name)
        for field, number, label, kind, of in fields:
            one = made.field.add(name=field, number=number, label=label, type=kind)
            if of:
                one.type_name = f".{file.package}.{of}"
            elif label == FIELD.LABEL_REPEATED and kind != FIELD.TYPE_BYTES:
                one.options.packed = packed
        return made

    once, many, nested = FIELD.LABEL_OPTIONAL, FIELD.LABEL_REPEATED, FIELD.TYPE_MESSAGE
    message("BytesList", ("value", 1, many, FIELD.TYPE_BYTES, ""))
    message("FloatList", ("value", 1, many, FIELD.TYPE_FLOAT, ""))
    message("Int64List", ("value", 1, many, FIELD.TYPE_INT64, ""))
    lists = (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))
    feature = message("Feature", *((field, at, once, nested, of) for at, (field, of) in enumerate(lists, start=1)))
    feature.oneof_decl.add(name="kind")
    for field in feature.field:
        field.oneof_index = 0
    features = message("Features", ("feature", 1, many, nested, "Features.FeatureEntry"))
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    entry.field.add(name="key", number=1, label=once, type=FIELD.TYPE_STRING)
    entry.field.add(name="value", number=2, label=once, type=nested, type_name=f".{file.package}.Feature")
    message("Example", ("features", 1, once, nested, "Features"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{file.package}.Example"))


EXAMPLE = {packed: example_class(packed=packed) for packed in (True, False)}

FLOATS = st.lists(st.floats(width=32, allow_nan=False), max_size=5)
INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)
STRINGS = st.lists(st.binary(max_size=300), max_size=3)
KEYS = st.text(max_size=8)


@settings(max_examples=60, deadline=None)
@given(st.booleans(), st.dictionaries(KEYS, FLOATS), st.dictionaries(KEYS, INTEGERS), st.dictionaries(KEYS, STRINGS))
def test_what_protobuf_writes_is_read(packed, floats, integers, strings):
    example = EXAMPLE[packed]()
    for kind, values in (("float_list", floats), ("int64_list", integers), ("bytes_list", strings)):
        for key, numbers in values.items():
            getattr(example.features.feature[key], kind).value.extend(numbers)
    found = read_example(example.SerializeToString())
    expected = {**floats, **integers, **strings}
    assert {key: list(values) for key, values in found.items()} == expected
    assert all(
        values.dtype == np.int64
        for key, values in found.items()
        if expected[key] and key in integers and key not in strings
    )


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(KEYS, FLOATS.map(lambda numbers: np.array(numbers, np.float32)) | st.binary(max_size=70_000)))
def test_protobuf_reads_what_is_written(features):
    example = EXAMPLE[True].FromString(write_example(features))
    found = {
        key: one.bytes_list.value[0] if one.WhichOneof("kind") == "bytes_list" else list(one.float_list.value)
        for key, one in example.features.feature.items()
    }
    assert found == {key: value if isinstance(value, bytes) else value.tolist() for key, value in features.items()}


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs the BAIR sample written by TensorFlow, absent here")
@pytest.mark.parametrize(("part", "count"), [("test/traj_0_to_2", 3), ("train/traj_0_to_1", 2)])
def test_the_same_bytes_as_tensorflow_writes(part, count, tmp_path):
    published = SHARED / f"{part}.tfrecords"
    with published.open("rb") as file:
        examples = [read_example(data) for data in read_records(file, published.name, count)]
    again = ({key: one if isinstance(one, np.ndarray) else one[0] for key, one in each.items()} for each in examples)
    write_records(tmp_path / "again", map(write_example, again))
    assert (tmp_path / "again").read_bytes() == published.read_bytes()


def test_checksums_are_those_of_the_standard():
    assert masked_crc(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF
    assert masked_crc(bytes(32)) == (((0x8A9136AA >> 15) | (0x8A9136AA << 17)) + 0xA282EAD8) & 0xFFFFFFFF


# --- damage -------------------------------------------------------------------------------------------


def a_file(tmp_path: Path) -> bytes:
    write_records(tmp_path / "three", [b"one", b"", b"three" * 20])
    return (tmp_path / "three").read_bytes()


def refused(content: bytes, count: int = 3) -> str:
    with pytest.raises(UserError) as caught:
        list(read_records(io.BytesIO(content), "traj_0_to_2.tfrecords", count))
    message = str(caught.value)
    assert message.startswith("traj_0_to_2.tfrecords")
    assert "\n" not in message
    assert "expected" in message
    assert "found" in message
    return message


def test_a_flipped_bit_in_any_byte_and_every_early_end_is_one_line(tmp_path):
    whole = a_file(tmp_path)
    assert list(read_records(io.BytesIO(whole), "three", 3)) == [b"one", b"", b"three" * 20]
    for at in range(len(whole)):
        refused(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
    for length in range(len(whole)):
        assert "record" in refused(whole[:length])
    assert "record 3" in refused(whole[: 19 + 16 + 5])
    assert "5 more bytes" in refused(whole + b"extra")
    assert "end of the file after 2 records, found 116 more bytes" in refused(whole, count=2)
    assert "record 4: expected one of 4 records" in refused(whole, count=4)


def test_a_length_beyond_the_file_is_not_believed():
    length = struct.pack("<Q", 1 << 60)
    assert str(1 << 60) in refused(length + struct.pack("<I", masked_crc(length)) + bytes(50))


def test_a_record_that_is_no_example_is_told_from_one():
    example = EXAMPLE[True]()
    example.features.feature["key"].float_list.value.extend([1.0, 2.0])
    example.features.feature["other"].bytes_list.value.append(b"content")
    whole, chance = example.SerializeToString(), random.Random(0)
    for length in range(1, len(whole)):
        with pytest.raises(ValueError, match=r"left|end of the message"):
            read_example(whole[:length])
    for _ in range(2000):
        damaged = bytearray(whole)
        damaged[chance.randrange(len(whole))] = chance.randrange(256)
        try:
            read_example(bytes(damaged))
        except ValueError:
            continue

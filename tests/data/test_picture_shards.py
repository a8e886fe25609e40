"""Pictures in shards: every picture once, under a name of its own, and what cannot be read is said."""

import io
import os
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from senet_zoo.data import picture_shards as module
from senet_zoo.data.picture_shards import RawPicture, picture_shards
from senet_zoo.errors import DataError, PictureError, UsageError

pyarrow = pytest.importorskip("pyarrow", reason="pyarrow comes with the extras `datasets` and `ray`")


def png(shade: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (8, 8), (shade, 0, 0)).save(file, "PNG")
    return file.getvalue()


def tar_of(path: Path, members: dict[str, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def table_of(target: Path, rows: int | None = None, /, **columns: object) -> Path:
    from pyarrow import parquet

    parquet.write_table(pyarrow.table(columns), target, row_group_size=rows)
    return target


def read(source: object, column: str | None = None) -> dict[str, RawPicture]:
    pictures = [picture for shard in picture_shards(str(source), column) for picture in shard()]
    assert len({picture.name for picture in pictures}) == len(pictures)
    return {picture.name: picture for picture in pictures}


def test_a_folder_is_read_to_its_depth_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS", 2)
    for number in range(5):
        (tmp_path / "deep" / str(number)).mkdir(parents=True)
        (tmp_path / "deep" / str(number) / "a.png").write_bytes(png(number))
    (tmp_path / "notes.txt").write_text("no picture")
    assert len(picture_shards(str(tmp_path))) == 3
    found = read(tmp_path)
    assert [*found] == [f"deep/{number}/a.png" for number in range(5)]
    assert found["deep/3/a.png"].content == png(3)
    assert [*read(tmp_path / "deep" / "*" / "a.png")] == [f"{number}/a.png" for number in range(5)]
    assert [*read(tmp_path / "deep" / "0" / "a.png")] == ["a.png"]
    assert [*read((tmp_path / "deep").as_uri())] == [f"{number}/a.png" for number in range(5)]


@pytest.mark.parametrize(("suffix", "mode"), [(".tar", "w"), (".tar.gz", "w:gz"), (".tgz", "w:gz")])
def test_tars_of_webdataset(tmp_path: Path, suffix: str, mode: str) -> None:
    for shard in range(3):
        members = {f"{shard}{number}.{kind}": png(number) for number in range(2) for kind in ("jpg", "json", "cls")}
        tar_of(tmp_path / f"train-{shard:04}{suffix}", members, mode)
    expected = [f"train-{shard:04}{suffix}/{shard}{number}.jpg" for shard in range(3) for number in range(2)]
    for source in (tmp_path, tmp_path / f"train-*{suffix}", f"{tmp_path}/train-{{0000..0002}}{suffix}"):
        assert [*read(source)] == expected
    assert [*read(f"{tmp_path}/train-{{0001..0001}}{suffix}")] == expected[2:4]


def test_odd_tars(tmp_path: Path) -> None:
    path = tar_of(
        tmp_path / "a.tar", {"__MACOSX/x.png": b"", ".hidden/x.png": b"", "../up.png": png(1), "b.png": png(2)}
    )
    with tarfile.open(path, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE):
            member = tarfile.TarInfo("special.png")
            member.type, member.linkname = kind, "/etc/passwd"
            tar.addfile(member)
        again = tarfile.TarInfo("b.png")
        again.size = len(png(3))
        tar.addfile(again, io.BytesIO(png(3)))
    found = read(path)
    assert {name: picture.content for name, picture in found.items()} == {
        "a.tar/../up.png": png(1),
        "a.tar/b.png": png(2),
        "a.tar/b.png#2": png(3),
    }


@pytest.mark.parametrize("damage", ["cut", "noise", "empty"])
def test_a_damaged_tar_is_a_failure_and_what_came_before_is_kept(tmp_path: Path, damage: str) -> None:
    path = tar_of(tmp_path / "a.tar", {f"{number}.png": png(number) + bytes(2000) for number in range(4)})
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[: len(whole) // 2 - 2500], "noise": bytes(range(256)) * 40, "empty": b""}[damage])
    *kept, last = read(path).values()
    assert last == RawPicture("a.tar", None, last.error)
    assert "the tar ends or cannot be read after" in last.error
    assert bool(kept) == (damage == "cut")
    assert all(picture.content for picture in kept)


def test_parquet_with_bytes_structs_and_paths(tmp_path: Path) -> None:
    pictures = [png(number) for number in range(5)]
    for number, content in enumerate(pictures):
        (tmp_path / f"{number}.png").write_bytes(content)
    files = {
        "bytes": table_of(tmp_path / "bytes.parquet", 2, label=[*range(5)], picture=pictures),
        "struct": table_of(tmp_path / "struct.parquet", image=[{"bytes": each, "path": "x.png"} for each in pictures]),
        "paths": table_of(tmp_path / "paths.parquet", path=[f"{number}.png" for number in range(5)], text=["a"] * 5),
        "places": table_of(tmp_path / "places.parquet", where=[str(tmp_path / f"{n}.png") for n in range(5)]),
    }
    for name, path in files.items():
        found = read(path, "where" if name == "places" else None)
        assert {key: picture.content for key, picture in found.items()} == {
            f"{path.name}/{row}": content for row, content in enumerate(pictures)
        }
    assert len(picture_shards(str(files["bytes"]))) == 3, "a shard a row group"


def test_cells_without_a_picture_are_failures(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    path = table_of(tmp_path / "a.parquet", path=[None, "none.png", "pipe.png", ".", "\0"])
    errors = [picture.error for picture in read(path).values()]
    assert all(errors)
    assert errors[0] == "the cell is empty"
    assert "No such file" in errors[1]


def test_a_file_that_is_too_large_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_BYTES", 100)
    (tmp_path / "a.png").write_bytes(bytes(101))
    (picture,) = read(tmp_path / "a.png").values()
    assert picture.content is None
    assert "this one has 101" in picture.error


def test_a_data_set_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"img": datasets.Image(), "label": datasets.Value("int64")})
    rows = {"img": [{"bytes": png(number), "path": None} for number in range(3)], "label": [0, 1, 2]}
    found = datasets.DatasetDict({split: datasets.Dataset.from_dict(rows, features) for split in ("train", "test")})
    monkeypatch.setattr(datasets, "load_dataset", lambda repo, revision: found)
    pictures = read("hf:owner/name@main")
    assert [*pictures] == [f"{split}/{row}" for split in ("train", "test") for row in range(3)]
    assert pictures["test/2"].content == png(2)
    with pytest.raises(DataError, match=r"one column of pictures.*\['img'\]"):
        read("hf:owner/name", "label")


@pytest.mark.parametrize(
    ("source", "column", "error", "message"),
    [
        ("nowhere", None, DataError, "nothing lies at"),
        ("*.tar.xz", None, DataError, "nothing matches"),
        ("empty", None, PictureError, "hold none"),
        ("mixed", None, UsageError, "of one kind"),
        ("mixed/*.*", None, UsageError, "of one kind"),
        ("mixed/a.tar", "image", UsageError, "a column is for Parquet"),
        ("broken.parquet", None, DataError, "must be a Parquet file"),
        ("two.parquet", None, DataError, "a, b, out of a, b, label; name it by column"),
        ("two.parquet", "c", DataError, "no column 'c'"),
        ("two.parquet", "label", DataError, "no column 'label' of bytes or paths"),
        ("none.parquet", None, DataError, "may be it: none"),
    ],
)
def test_what_is_no_source_is_said(
    tmp_path: Path, source: str, column: str | None, error: type[Exception], message: str
) -> None:
    for folder in ("empty", "mixed"):
        (tmp_path / folder).mkdir()
    tar_of(tmp_path / "mixed" / "a.tar", {"a.png": png(0)})
    (tmp_path / "mixed" / "b.png").write_bytes(png(0))
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 and no more")
    table_of(tmp_path / "two.parquet", a=[b"1"], b=[b"2"], label=[1])
    table_of(tmp_path / "none.parquet", label=[1])
    with pytest.raises(error, match=message):
        read(tmp_path / source, column)

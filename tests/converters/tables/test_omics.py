"""Omics: matrices as sparse rows, sites without persons, sequences; anndata, scipy and pysam see the same."""

from __future__ import annotations

import gzip
import re
import warnings
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from made_tables import VCF, columns, one_hot, table, ten_x, types, written

from medshard.converters.table import Table
from medshard.converters.tables import cells, dialect, matrix_market
from medshard.converters.tables.reading import is_matrix, variables_of
from medshard.errors import CaseError


def dense_of(found: Table) -> np.ndarray:
    read = columns(found)
    dense = np.zeros((len(read["indices"]), len(variables_of(found.schema)["name"])))
    for row, (places, values) in enumerate(zip(read["indices"], read["values"], strict=True)):
        dense[row, places] = values
    return dense


def counts(rows: int = 37, features: int = 90) -> np.ndarray:
    return np.random.default_rng(3).poisson(0.2, (rows, features)) * 1000


class TestWideTables:
    def test_a_count_table_is_a_row_for_each_cell(self, tmp_path: Path) -> None:
        dense = counts(rows=9, features=5000)
        header = ",".join(["", "barcode", "assigned_cluster", *(f"G{n}" for n in range(5000))])
        lines = [f"human1.{n},ACGT-{n},beta,{','.join(map(str, row))}" for n, row in enumerate(dense)]
        text = "\n".join([header, *lines, ""])
        found = table(written(tmp_path, "GSM2230757_human1_umifm_counts.csv.gz", gzip.compress(text.encode())))
        assert found.schema.names == ["column_1", "barcode", "assigned_cluster", "indices", "values"]
        assert is_matrix(found.schema)
        assert variables_of(found.schema)["name"][4999] == "G4999"
        assert str(found.schema.field("values").type) == "list<item: int64>"
        assert (dense_of(found) == dense).all()

    def test_a_missing_number_is_refused(self, tmp_path: Path) -> None:
        header = ",".join(f"G{n}" for n in range(5000))
        with pytest.raises(CaseError, match=r"table\.missing_numbers"):
            table(written(tmp_path, "a.csv", f"{header}\n{'1,' * 4999}1\n{'1,' * 4999}\n")).read()

    def test_wide_text_is_refused(self, tmp_path: Path) -> None:
        header = ",".join(f"G{n}" for n in range(5000))
        with pytest.raises(CaseError, match=r"table\.too_many_columns"):
            table(written(tmp_path, "a.csv", f"{header}\n{'x,' * 4999}x\n"))


class TestMatrixMarket:
    @pytest.mark.parametrize("shuffled", [False, True])
    def test_a_folder_of_10x(self, tmp_path: Path, shuffled: bool) -> None:
        dense = counts()
        dense[0] = dense[-1] = 0
        files = ten_x(tmp_path, dense, shuffled=shuffled)
        found = table(*files)
        assert (dense_of(found) == dense).all()
        assert (dense_of(found) == scipy.io.mmread(files[0]).toarray().T).all()
        assert variables_of(found.schema)["id"][1] == "ENSG00001"
        assert columns(found)["barcode"][0] == "CELL0-1"

    def test_small_blocks_give_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        dense = counts(300, 400)
        files = ten_x(tmp_path, dense)
        wanted = table(*files).read()
        original = matrix_market.arrow_csv.ReadOptions
        monkeypatch.setattr(
            matrix_market.arrow_csv, "ReadOptions", lambda **given: original(**{**given, "block_size": 4096})
        )
        parts = list(table(*files).batches())
        assert len(parts) > 5
        assert table(*files).read().combine_chunks() == wanted.combine_chunks()

    @pytest.mark.parametrize(
        ("change", "code"),
        [
            ((b"general", b"symmetric"), r"read\.unsupported"),
            ((b"coordinate", b"array"), r"read\.unsupported"),
            ((b"\n90 37", b"\n90 38"), r"read\.unreadable"),
            ((b"\n90 37 ", b"\n90 37 9"), r"read\.truncated"),
        ],
    )
    def test_lies_are_refused(self, tmp_path: Path, change: tuple[bytes, bytes], code: str) -> None:
        files = ten_x(tmp_path, counts())
        text = gzip.decompress(files[0].read_bytes())
        assert change[0] in text
        files[0].write_bytes(text.replace(*change))
        with pytest.raises(CaseError, match=code):
            table(*files)

    def test_entries_outside_are_refused(self, tmp_path: Path) -> None:
        files = ten_x(tmp_path, counts())
        text = gzip.decompress(files[0].read_bytes())
        files[0].write_bytes(re.sub(rb"\n\d+ (\d+) (\d+)\n$", rb"\n91 \1 \2\n", text))
        with pytest.raises(CaseError, match=r"read\.unreadable"):
            table(*files)

    def test_names_have_to_be_there(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"read\.missing_part"):
            table(ten_x(tmp_path, counts())[0])


class TestAnnData:
    @pytest.mark.parametrize("kind", ["csr", "csc", "dense"])
    def test_reads_what_anndata_writes(self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        dense = counts().astype(np.float32)
        path = made_h5ad(tmp_path, dense, kind)
        monkeypatch.setattr(cells, "NONZEROS_PER_BATCH", 40)
        monkeypatch.setattr(cells, "DENSE_PER_BATCH", 400)
        found = table(path)
        assert len(list(found.batches())) > 3
        assert (dense_of(found) == dense).all()
        read = found.read()
        assert read.column("cell_type").to_pylist()[:2] == ["alpha", "beta"]
        assert columns(found)["name"][3] == "cell3"
        assert variables_of(found.schema)["gene_id"][2] == "E2"
        assert found.warnings

    def test_a_layer_by_key(self, tmp_path: Path) -> None:
        dense = counts().astype(np.float32)
        path = made_h5ad(tmp_path, dense, "csr")
        assert (dense_of(table(path, key="doubled")) == 2 * dense).all()
        with pytest.raises(CaseError, match=r"table\.no_such_key"):
            table(path, key="nothing")

    def test_places_that_are_not_there_are_refused(self, tmp_path: Path) -> None:
        path = made_h5ad(tmp_path, counts().astype(np.float32), "csr")
        with h5py.File(path, "r+") as file:
            file["X/indices"][0] = 4000
        with pytest.raises(CaseError, match=r"read\.unreadable"):
            table(path).read()

    def test_links_to_other_files_are_refused(self, tmp_path: Path) -> None:
        path = made_h5ad(tmp_path, counts().astype(np.float32), "csr")
        with h5py.File(path, "r+") as file:
            file["uns/else"] = h5py.ExternalLink("/etc/hostname", "/")
        with pytest.raises(CaseError, match=r"read\.unsupported"):
            table(path)


def made_h5ad(folder: Path, dense: np.ndarray, kind: str) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import anndata
        import pandas as pd

        def named(letter: str, count: int) -> pd.Index:
            return pd.Index([f"{letter}{n}" for n in range(count)], dtype=object)

        make = {"csr": scipy.sparse.csr_matrix, "csc": scipy.sparse.csc_matrix, "dense": np.asarray}[kind]
        kinds = pd.Categorical(
            [["alpha", "beta"][n % 2] for n in range(len(dense))], pd.Index(["alpha", "beta"], dtype=object)
        )
        obs = pd.DataFrame({"cell_type": kinds, "n": range(len(dense))}, index=named("cell", len(dense)))
        width = dense.shape[1]
        var = pd.DataFrame({"gene_id": named("E", width)}, index=named("G", width), dtype=object)
        made = anndata.AnnData(make(dense), obs=obs, var=var, uns={"title": "made"})
        made.layers["doubled"] = make(2 * dense)
        made.obsm["X_pca"] = np.zeros((len(dense), 2))
        made.write_h5ad(folder / "a.h5ad")
    return folder / "a.h5ad"


class TestVariants:
    def test_sites_without_genotypes_or_sample_ids(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.vcf.gz", gzip.compress(VCF.encode())))
        assert found.schema.names == ["CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO"]
        assert columns(found)["POS"] == [10000, 10020]
        assert columns(found)["ID"] == ["rs1", None]
        assert found.attributes["samples"] == 2
        assert "genotypes of 2 samples" in found.warnings[0]
        assert "NA00001" not in repr((found.attributes, found.warnings, found.schema))

    def test_genotypes_by_key(self, tmp_path: Path) -> None:
        found = table(written(tmp_path, "a.vcf", VCF), key="genotypes")
        assert columns(found)["calls"] == [["0|1", "./."], ["1|1", "0|2"]]
        assert columns(found)["FORMAT"] == ["GT", "GT"]

    @pytest.mark.parametrize("key", [None, "genotypes"])
    def test_bcf_is_the_same(self, tmp_path: Path, key: str | None) -> None:
        import pysam

        text = written(tmp_path, "a.vcf", VCF.replace("0|2", "0|1"))
        with pysam.VariantFile(str(text)) as source:
            target = pysam.VariantFile(str(tmp_path / "a.bcf"), "wb", header=source.header)
            for record in source:
                target.write(record)
            target.close()
        assert columns(table(tmp_path / "a.bcf", key=key)) == columns(table(text, key=key))

    def test_the_index_beside_it_does_not_count(self, tmp_path: Path) -> None:
        index = written(tmp_path, "a.vcf.gz.tbi", gzip.compress(b"TBI\x01"))
        assert table(written(tmp_path, "a.vcf.gz", VCF), index).read().num_rows == 2
        with pytest.raises(CaseError, match=r"table\.unsupported_format"):
            table(index)

    def test_bad_lines_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"table\.ragged"):
            table(written(tmp_path, "a.vcf", VCF + "chr1\t5\n")).read()
        with pytest.raises(CaseError, match=r"read\.unreadable"):
            table(written(tmp_path, "a.vcf", VCF.replace("10020", "1e5"))).read()
        with pytest.raises(CaseError, match=r"read\.unreadable"):
            table(written(tmp_path, "a.vcf", "##fileformat=VCFv4.2\n##no columns"))


class TestGenomes:
    def test_fasta(self, tmp_path: Path) -> None:
        text = ">chr1 a test\r\nACGTnn\r\nacgt\r\n>chr2\nTTT\n>empty\n"
        found = table(written(tmp_path, "a.fa.gz", gzip.compress(text.encode())))
        assert columns(found) == {
            "name": ["chr1", "chr2", "empty"],
            "description": ["a test", None, None],
            "sequence": ["ACGTnnacgt", "TTT", ""],
        }

    def test_bed(self, tmp_path: Path) -> None:
        text = "track name=x\nchr1\t0\t100\tpeak1\t5\t+\nchr2\t7\t9\tpeak2\t.\t-\n"
        found = table(written(tmp_path, "a.bed", text))
        assert columns(found)["start"] == [0, 7]
        assert columns(found)["score"] == ["5", None]
        assert found.attributes["coordinates"] == "from 0, end exclusive"
        with pytest.raises(CaseError, match=r"table\.ragged"):
            table(written(tmp_path, "b.bed", "chr1\t0\t100\nchr1\t1\n")).read()

    def test_gff(self, tmp_path: Path) -> None:
        text = '##gff-version 3\n#c\nchr1\tx\tgene\t11\t20\t.\t+\t.\tID=g1;Name="a"\n##FASTA\n>chr1\nACGT\n'
        found = table(written(tmp_path, "a.gff3", text))
        assert columns(found)["attributes"] == ['ID=g1;Name="a"']
        assert columns(found)["start"] == [11]

    def test_reads_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(CaseError, match=r"table\.unsupported_format"):
            table(written(tmp_path, "a.fastq", "@r1\nACGT\n+\nIIII\n"))


class TestArrays:
    """The two kinds of MATLAB files of DeepSEA: level 5 by scipy, and HDF5 with the axis of the rows last."""

    def test_level_5(self, tmp_path: Path) -> None:
        x, y = one_hot(50), np.arange(50 * 3).reshape(50, 3).astype(np.uint8)
        scipy.io.savemat(tmp_path / "valid.mat", {"validxdata": x, "validdata": y})
        found = table(tmp_path / "valid.mat")
        assert sorted(found.schema.names) == ["validdata", "validxdata"]
        assert (np.array(columns(found)["validxdata"]).reshape(50, 4, 10) == x).all()
        assert (np.array(columns(found)["validdata"]) == y).all()
        assert found.schema.field("validxdata").metadata == {b"shape": b"4,10"}
        assert table(tmp_path / "valid.mat", key="validxdata").schema.names == ["validxdata"]

    def test_hdf5(self, tmp_path: Path) -> None:
        x = one_hot(50)
        with h5py.File(tmp_path / "train.mat", "w", userblock_size=512) as file:
            made = file.create_dataset("trainxdata", data=x.transpose(2, 1, 0), chunks=(10, 4, 8), compression="gzip")
            made.attrs["MATLAB_class"] = np.bytes_("uint8")
        found = table(tmp_path / "train.mat", key="trainxdata")
        assert types(found)[0].endswith("[40]")
        assert (np.array(columns(found)["trainxdata"]).reshape(50, 4, 10) == x).all()

    def test_hdf5_of_others_counts_rows_on_its_first_axis(self, tmp_path: Path) -> None:
        x = one_hot(50)
        with h5py.File(tmp_path / "a.h5", "w") as file:
            file["x"], file["y"], file["other"] = x, np.arange(50.0), np.arange(7)
        found = table(tmp_path / "a.h5")
        assert sorted(found.schema.names) == ["x", "y"]
        assert columns(found)["y"][:2] == [0.0, 1.0]
        with pytest.raises(CaseError, match=r"table\.several_tables"):
            table(tmp_path / "a.h5", key="x,other")


def test_more_columns_than_any_matrix_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dialect, "MOST_NUMBERS", 1000)
    with pytest.raises(CaseError, match=r"table\.too_many_columns"):
        table(written(tmp_path, "a.csv", ",".join(f"c{n}" for n in range(1001)) + "\n"))

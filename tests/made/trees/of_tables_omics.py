"""Genomes and transcriptomes."""

from __future__ import annotations

import gzip
from pathlib import Path

import h5py
import numpy as np
import pysam
import scipy.io
from trees.table_files import write_lines
from trees.tree import Expected, Tree, tree


def write_vcf(path: Path, chromosome: str, *sites: str) -> Path:
    """Sites of two samples as bgzip packs them. sites: columns POS to FORMAT and the two genotypes, by blanks."""
    plain = path.with_suffix("")
    head = (
        "##fileformat=VCFv4.2",
        '##FILTER=<ID=PASS,Description="All filters passed">',
        f"##contig=<ID={chromosome}>",
        '##INFO=<ID=AC,Number=A,Type=Integer,Description="Allele count">',
        '##INFO=<ID=AF,Number=A,Type=Float,Description="Allele frequency">',
        '##INFO=<ID=SVTYPE,Number=1,Type=String,Description="Type of structural variant">',
        '##FORMAT=<ID=GT,Number=1,Type=String,Description="Phased genotype">',
        "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", "HG00096", "NA19240"]),
    )
    write_lines(plain, *head, *("\t".join([chromosome, *site.split()]) for site in sites))
    pysam.tabix_compress(str(plain), str(path), force=True)
    plain.unlink()
    return path


@tree(
    "1000g-high-coverage",
    evidence=(
        "listing e-extras: find_string 'SNV_INDEL_SV_phased_panel.vcf.gz' (file ids 67247444933, 6996283028)",
        "find_string '20130606_g1k_3202_samples_ped' (file ids 16026019682: blanks; 54492345033: columns)",
    ),
)
def thousand_genomes(root: Tree) -> Expected:
    """One VCF per chromosome, X with v2 in its name; structural variants by symbol; one pedigree for all."""
    stem = "1kGP_high_coverage_Illumina.{}.filtered.SNV_INDEL_SV_phased_panel{}.vcf.gz"
    write_vcf(
        root / stem.format("chr1", ""), "chr1", "10397 1:10397:CCCCTAA:C CCCCTAA C . PASS AC=1;AF=0.25 GT 0|1 0|0"
    )
    write_vcf(
        root / stem.format("chr22", ""),
        "chr22",
        "10519265 22:10519265:CA:C CA C . PASS AC=2;AF=0.5 GT 1|0 0|1",
        "10519276 22:10519276:G:C G C . PASS AC=4;AF=1 GT 1|1 1|1",
        "10630000 HGSV_239000 N <DEL> . PASS AC=1;AF=0.25;SVTYPE=DEL GT 0|0 1|0",
    )
    write_vcf(root / stem.format("chrX", ".v2"), "chrX", "2781635 X:2781635:A:G A G . PASS AC=1;AF=0.33 GT 1 0|1")
    write_lines(
        root / "20130606_g1k_3202_samples_ped_population.txt",
        "FamilyID SampleID FatherID MotherID Sex Population Superpopulation",
        "HG00096 HG00096 0 0 1 GBR EUR",
        "Y117 NA19240 NA19239 NA19238 2 YRI AFR",
    )
    samples = {"SampleID": ["HG00096", "NA19240"], "FatherID": ["0", "NA19239"], "Superpopulation": ["EUR", "AFR"]}
    positions = {"chr1": [10397], "chr22": [10519265, 10519276, 10630000], "chrX": [2781635]}
    return Expected(
        cases={case: case for case in positions},
        contents={case: ["variants", "samples"] for case in positions},
        columns={case: {"variants": {"POS": values}, "samples": samples} for case, values in positions.items()},
    )


@tree(
    "baron-pancreas",
    evidence=(
        "listing e-extras: find_string 'human1_umifm_counts.csv' (file ids 39852115577, 63051288904, 70986448272)",
        "find_string 'GSM2230757_human1_umifm_counts.csv' (file ids 32770955577, 6845940742: the first three columns)",
    ),
)
def baron_pancreas(root: Tree) -> Expected:
    """Cells in rows, the first column without a name; genes of man in capitals, of mice not."""
    pack = root.archive("GSE84133_RAW.tar")
    cells = {
        "human1": ("GSM2230757", [("GATGACGGAC-GGTGGGAT", "acinar"), ("GAGCGTTGCT-ACCTTCTT", "beta")]),
        "human4": ("GSM2230760", [("AATCGCTGTT-AAAGCCTA", "t_cell"), ("ACATTCTAGT-AAGTCTGT", "activated_stellate")]),
        "mouse1": ("GSM2230761", [("TGAGGTTAACTA-AAACATCG", "B_cell"), ("GAGCAGATTGT-ATCTACGA", "immune_other")]),
    }
    counts = {}
    for donor, (accession, found) in cells.items():
        genes = ("A1BG", "INS", "ZZZ3") if donor.startswith("human") else ("X0610005C13Rik", "Ins2", "Zzz3")
        lines = [",".join(('""', '"barcode"', '"assigned_cluster"', *(f'"{gene}"' for gene in genes)))]
        for number, (barcode, cluster) in enumerate(found, start=1):
            numbers = f"0,{4510 * number},{number}"
            lines.append(f'"{donor}_lib1.final_cell_{number:04d}","{barcode}","{cluster}",{numbers}')
        packed = gzip.compress("\n".join([*lines, ""]).encode(), 6, mtime=0)
        (pack / f"{accession}_{donor}_umifm_counts.csv.gz").write_bytes(packed)
        counts[donor] = {
            "assigned_cluster": [cluster for _, cluster in found],
            "barcode": [barcode for barcode, _ in found],
            genes[1]: [4510, 9020],
        }
    return Expected(
        cases={donor: donor for donor in cells},
        contents={donor: ["counts"] for donor in cells},
        columns={donor: {"counts": columns} for donor, columns in counts.items()},
    )


@tree(
    "deepsea",
    evidence=(
        "listing e-extras: find_string 'deepsea_train/train.mat' (file id 21839650181)",
        "find_string 'deepsea_train/train.mat' (file ids 30494554310, 42757555170: arrays, axes, kinds of files)",
    ),
)
def deepsea(root: Tree) -> Expected:
    """Two kinds of MATLAB files: MATLAB's first axis is the sequence in all of them, the last one of HDF5."""
    pack = root.archive("deepsea_train_bundle.v0.9.tar.gz")
    sequences, labels = {}, {}
    for number, part in enumerate(("train", "valid", "test")):
        random = np.random.default_rng(number)
        bases = random.integers(0, 4, (3, 1000))
        x = np.stack([bases == base for base in range(4)], axis=1).astype(np.uint8)  # sequence, base, place
        y = (random.random((3, 919)) < 0.02).astype(np.uint8)
        path = pack / f"deepsea_train/{part}.mat"
        if part == "train":
            with h5py.File(path, "w", userblock_size=512) as file:
                for name, values in (("trainxdata", x), ("traindata", y)):
                    file.create_dataset(name, data=values.T).attrs["MATLAB_class"] = np.bytes_("uint8")
            with path.open("r+b") as raw:
                raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64, HDF5 schema 1.00 .".ljust(124))
                raw.write(b"\0\2IM")
        else:
            scipy.io.savemat(path, {f"{part}xdata": x, f"{part}data": y}, do_compression=True)
        sequences[part], labels[part] = x.reshape(3, -1).tolist(), y.tolist()
    return Expected(
        cases={part: part for part in sequences},
        split={"train": "train", "valid": "validation", "test": "test"},
        contents={part: ["sequences"] for part in sequences},
        columns={
            part: {"sequences": {f"{part}xdata": sequences[part], f"{part}data": labels[part]}} for part in sequences
        },
    )

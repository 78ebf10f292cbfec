"""Hospital records: linked tables, of which each is a case."""

from __future__ import annotations

import gzip
from datetime import date, datetime
from pathlib import Path

from trees.tree import Expected, Tree, tree


def packed(path: Path, *lines: str) -> None:
    """csv.gz as PhysioNet ships it."""
    path.write_bytes(gzip.compress("".join(f"{line}\n" for line in lines).encode(), 6, mtime=0))


@tree(
    "mimic-iii",
    evidence=(
        "github:sunlabuiuc/PyHealth pyhealth/datasets/configs/mimic3.yaml, test-resources/core/mimic3demo",
        "github:MIT-LCP/mimic-code mimic-iii/buildmimic/postgres/postgres_create_tables.sql (columns)",
    ),
)
def mimic_iii(root: Tree) -> Expected:
    """Names in capitals, quoted words, ages over 89 as births 300 years before, codes that begin with zeros."""
    packed(
        root / "PATIENTS.csv.gz",
        '"ROW_ID","SUBJECT_ID","GENDER","DOB","DOD","DOD_HOSP","DOD_SSN","EXPIRE_FLAG"',
        '234,249,"F",2075-03-13 00:00:00,,,,0',
        '235,250,"M",1863-12-27 00:00:00,2188-11-22 00:00:00,2188-11-22 00:00:00,,1',
    )
    packed(
        root / "ADMISSIONS.csv.gz",
        '"ROW_ID","SUBJECT_ID","HADM_ID","ADMITTIME","DISCHTIME","DEATHTIME","ADMISSION_TYPE","ADMISSION_LOCATION",'
        '"DISCHARGE_LOCATION","INSURANCE","LANGUAGE","RELIGION","MARITAL_STATUS","ETHNICITY","EDREGTIME","EDOUTTIME",'
        '"DIAGNOSIS","HOSPITAL_EXPIRE_FLAG","HAS_CHARTEVENTS_DATA"',
        '315,249,116935,2149-12-17 20:41:00,2149-12-31 14:55:00,,"EMERGENCY","EMERGENCY ROOM ADMIT","HOME","Medicare",'
        ',"CATHOLIC","DIVORCED","WHITE",,,"UNSTABLE ANGINA;ASTHMA, BRONCHITIS",0,1',
        '316,250,124271,2188-11-12 09:22:00,2188-11-22 12:00:00,2188-11-22 12:00:00,"EMERGENCY","TRANSFER FROM HOSP",'
        '"DEAD/EXPIRED","Self Pay","HAIT","NOT SPECIFIED",,"BLACK",,,"PNEUMONIA;R/O TB",1,1',
    )
    packed(
        root / "DIAGNOSES_ICD.csv.gz",
        '"ROW_ID","SUBJECT_ID","HADM_ID","SEQ_NUM","ICD9_CODE"',
        '1297,249,116935,1,"0389"',
        '1298,249,116935,2,"25000"',
        "1299,250,124271,,",
    )
    packed(
        root / "LABEVENTS.csv.gz",
        '"ROW_ID","SUBJECT_ID","HADM_ID","ITEMID","CHARTTIME","VALUE","VALUENUM","VALUEUOM","FLAG"',
        '281,249,,50820,2149-12-17 16:35:00,"7.39",7.39,"units","abnormal"',
        '282,249,116935,50800,2149-12-17 16:35:00,"VEN",,,',
        '283,250,124271,50912,2188-11-12 11:45:00,"<0.1",0.10,"mg/dL",',
    )
    return Expected(
        cases={table: table for table in ("PATIENTS", "ADMISSIONS", "DIAGNOSES_ICD", "LABEVENTS")},
        modality=dict.fromkeys(("PATIENTS", "LABEVENTS"), "EHR"),
        contents={"PATIENTS": ["table"]},
        columns={
            "PATIENTS": {
                "table": {
                    "SUBJECT_ID": [249, 250],
                    "DOB": [datetime(2075, 3, 13), datetime(1863, 12, 27)],
                    "DOD": [None, datetime(2188, 11, 22)],
                }
            },
            "ADMISSIONS": {
                "table": {
                    "ADMITTIME": [datetime(2149, 12, 17, 20, 41), datetime(2188, 11, 12, 9, 22)],
                    "DIAGNOSIS": ["UNSTABLE ANGINA;ASTHMA, BRONCHITIS", "PNEUMONIA;R/O TB"],
                    "LANGUAGE": [None, "HAIT"],
                }
            },
            "DIAGNOSES_ICD": {"table": {"ICD9_CODE": ["0389", "25000", None], "SEQ_NUM": [1, 2, None]}},
            "LABEVENTS": {
                "table": {
                    "HADM_ID": [None, 116935, 124271],
                    "VALUE": ["7.39", "VEN", "<0.1"],
                    "VALUENUM": [7.39, None, 0.1],
                }
            },
        },
    )


@tree(
    "mimic-iv",
    evidence=(
        "github:sunlabuiuc/PyHealth pyhealth/datasets/configs/mimic4_ehr.yaml, test-resources/core/mimic4demo",
        "github:MIT-LCP/mimic-code mimic-iv/buildmimic/postgres/create.sql (columns)",
    ),
)
def mimic_iv(root: Tree) -> Expected:
    """Two modules; ICD-9 and ICD-10 codes in one column; days of death without a time."""
    packed(
        root / "hosp/patients.csv.gz",
        "subject_id,gender,anchor_age,anchor_year,anchor_year_group,dod",
        "10000032,F,52,2180,2014 - 2016,2180-09-09",
        "10000048,F,23,2126,2008 - 2010,",
    )
    packed(
        root / "hosp/diagnoses_icd.csv.gz",
        "subject_id,hadm_id,seq_num,icd_code,icd_version",
        "10000032,22595853,1,5723,9",
        "10000032,22595853,2,07070,9",
        "10000048,20897796,1,R531,10",
    )
    packed(
        root / "hosp/labevents.csv.gz",
        "labevent_id,subject_id,hadm_id,specimen_id,itemid,order_provider_id,charttime,storetime,value,valuenum,valueuom,"
        "ref_range_lower,ref_range_upper,flag,priority,comments",
        "1,10000032,,2704548,50931,P69FQC,2180-03-23 11:51:00,2180-03-23 15:56:00,___,95,mg/dL,70.0,100.0,,ROUTINE,"
        '"IF FASTING, 70-100 NORMAL."',
        "2,10000048,20897796,6820123,50802,,2126-01-01 00:00:00,,-3,-3.0,mEq/L,,,,STAT,",
    )
    packed(
        root / "icu/icustays.csv.gz",
        "subject_id,hadm_id,stay_id,first_careunit,last_careunit,intime,outtime,los",
        "10000032,29079034,39553978,Medical Intensive Care Unit (MICU),Medical Intensive Care Unit (MICU),"
        "2180-07-23 14:00:00,2180-07-23 23:50:47,0.4102662037037037",
    )
    cases = ("hosp_patients", "hosp_diagnoses_icd", "hosp_labevents", "icu_icustays")
    return Expected(
        cases={table: table for table in cases},
        columns={
            "hosp_patients": {
                "table": {"dod": [date(2180, 9, 9), None], "anchor_year_group": ["2014 - 2016", "2008 - 2010"]}
            },
            "hosp_diagnoses_icd": {"table": {"icd_code": ["5723", "07070", "R531"], "icd_version": [9, 9, 10]}},
            "hosp_labevents": {
                "table": {
                    "charttime": [datetime(2180, 3, 23, 11, 51), datetime(2126, 1, 1)],
                    "storetime": [datetime(2180, 3, 23, 15, 56), None],
                    "value": ["___", "-3"],
                    "valuenum": [95.0, -3.0],
                    "ref_range_lower": [70.0, None],
                }
            },
            "icu_icustays": {"table": {"los": [0.4102662037037037], "intime": [datetime(2180, 7, 23, 14)]}},
        },
    )


@tree(
    "eicu",
    evidence=(
        "github:sunlabuiuc/PyHealth pyhealth/datasets/configs/eicu.yaml, test-resources/core/eicudemo",
        "github:MIT-LCP/eicu-code build-db/postgres/postgres_create_tables.sql (columns)",
    ),
)
def eicu(root: Tree) -> Expected:
    """Ages as words where over 89; times of day without a day; offsets in minutes, also before the admission."""
    packed(
        root / "patient.csv.gz",
        "patientunitstayid,patienthealthsystemstayid,gender,age,ethnicity,hospitalid,wardid,apacheadmissiondx,"
        "admissionheight,hospitaladmittime24,hospitaladmitoffset,hospitaladmitsource,hospitaldischargeyear,"
        "hospitaldischargetime24,hospitaldischargeoffset,hospitaldischargelocation,hospitaldischargestatus,unittype,"
        "unitadmittime24,unitadmitsource,unitvisitnumber,unitstaytype,admissionweight,dischargeweight,"
        "unitdischargetime24,unitdischargeoffset,unitdischargelocation,unitdischargestatus,uniquepid",
        '141168,128919,Female,70,Caucasian,59,91,"Rhythm disturbance (atrial, supraventricular)",152.4,15:54:00,0,'
        "Direct Admit,2015,03:50:00,3596,Death,Expired,Med-Surg ICU,15:54:00,Direct Admit,1,admit,84.3,85.80,03:50:00,"
        "3596,Death,Expired,002-34851",
        "141178,128927,Female,> 89,,60,83,,,08:56:00,-14,Emergency Department,2015,19:20:00,2050,Home,Alive,"
        "Med-Surg ICU,09:10:00,Emergency Department,1,admit,,,09:18:00,8,Step-Down Unit (SDU),Alive,002-33870",
    )
    packed(
        root / "hospital.csv.gz",
        "hospitalid,numbedscategory,teachingstatus,region",
        "59,<100,f,Midwest",
        "60,,t,",
    )
    packed(
        root / "lab.csv.gz",
        "labid,patientunitstayid,labresultoffset,labtypeid,labname,labresult,labresulttext,labmeasurenamesystem,"
        "labmeasurenameinterface,labresultrevisedoffset",
        "52307161,141168,2026,1,fibrinogen,177.0000,177,mg/dL,mg/dL,2059",
        "52307162,141178,-1133,3,PT - INR,,>7.5,ratio,,-1100",
    )
    packed(
        root / "diagnosis.csv.gz",
        "diagnosisid,patientunitstayid,activeupondischarge,diagnosisoffset,diagnosisstring,icd9code,diagnosispriority",
        '4222318,141168,False,72,cardiovascular|chest pain / ASHD|coronary artery disease,"414.00, I25.10",Other',
        "3370568,141178,True,118,cardiovascular|ventricular disorders|cardiomyopathy,,Primary",
    )
    return Expected(
        cases={table: table for table in ("patient", "hospital", "lab", "diagnosis")},
        columns={
            "patient": {
                "table": {
                    "age": ["70", "> 89"],
                    "admissionheight": [152.4, None],
                    "dischargeweight": [85.8, None],
                    "hospitaladmitoffset": [0, -14],
                    "unitadmittime24": ["15:54:00", "09:10:00"],
                    "uniquepid": ["002-34851", "002-33870"],
                }
            },
            "hospital": {"table": {"numbedscategory": ["<100", None], "teachingstatus": [False, True]}},
            "lab": {
                "table": {
                    "labresult": [177.0, None],
                    "labresulttext": ["177", ">7.5"],
                    "labresultoffset": [2026, -1133],
                }
            },
            "diagnosis": {"table": {"icd9code": ["414.00, I25.10", None], "activeupondischarge": [False, True]}},
        },
    )

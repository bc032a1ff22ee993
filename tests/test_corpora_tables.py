"""Corpora whose labels stand in tables beside files with names that tell the rest: IEMOCAP, MELD, MSP-Podcast."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from emogram.corpora import CORPORA, Corpus, find_corpus
from emogram.errors import CorpusError
from emogram.records import Clip


def touch(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def by_name(corpus: Corpus) -> dict[str, Clip]:
    return {clip.path.name: clip for clip in corpus.clips}


# ---------------------------------------------------------------- IEMOCAP

# As in the corpus: a header, and for each turn a line followed by what each annotator said.
EVALUATION = """% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]

[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]
C-E2:\tNeutral;\t()
A-E3:\tval 3; act 2; dom  2;\t()

[10.0100 - 11.3925]\tSes01F_impro01_M001\tang\t[1.5000, 4.0000, 4.5000]
C-E1:\tAnger;\t()

[14.8872 - 18.0175]\tSes01F_impro01_F002\txxx\t[2.5000, 3.0000, 3.0000]
[19.2900 - 20.7875]\tSes01F_impro01_M003\texc\t[4.0000, 3.5000, 3.0000]
[21.3257 - 24.7400]\tSes01F_impro01_F004\toth\t[2.0000, 3.0000, 3.0000]
[24.9000 - 26.0000]\tSes01F_impro01_F005\tfru\t[2.0000, 3.0000, 3.0000]
"""


@pytest.fixture
def iemocap(tmp_path: Path) -> Path:
    session = tmp_path / "IEMOCAP_full_release" / "Session1"
    turns = [f"F_impro01_{turn}" for turn in ("F000", "M001", "F002", "M003", "F004", "F005", "M099")]
    touch(session / "sentences" / "wav" / "Ses01F_impro01", *(f"Ses01{turn}.wav" for turn in turns))
    touch(session / "dialog" / "wav", "Ses01F_impro01.wav")
    touch(session / "dialog" / "avi" / "DivX", "Ses01F_impro01.avi")
    write(session / "dialog" / "EmoEvaluation" / "Ses01F_impro01.txt", EVALUATION)
    # What one annotator said, in folders of their own; no table of the labels.
    write(
        session / "dialog" / "EmoEvaluation" / "Categorical" / "Ses01F_impro01_e2_cat.txt", "Ses01F_impro01_F000 :Sad;"
    )
    return session.parent


def test_iemocap_takes_labels_and_numbers_from_its_evaluations(iemocap):
    corpus = find_corpus(iemocap)
    assert (corpus.name, corpus.labels) == ("iemocap", ("angry", "neutral", "excited", "frustrated"))
    assert by_name(corpus)["Ses01F_impro01_M001.wav"].extra == {
        "gender": "male",
        "session": "1",
        "scenario": "improvised",
        "valence": "1.5000",
        "arousal": "4.0000",
        "dominance": "4.5000",
    }
    (warning,) = corpus.warnings
    assert warning == (
        "5 files of iemocap left out: 2 whole dialogue, 1 without agreement on an emotion, 1 of another emotion, "
        "1 without an evaluation"
    )


def test_the_speaker_of_iemocap_is_the_session_and_the_letter_of_the_last_field(iemocap):
    speakers = {name: clip.speaker for name, clip in by_name(find_corpus(iemocap)).items()}
    assert speakers["Ses01F_impro01_F000.wav"] == "Ses01F"
    assert speakers["Ses01F_impro01_M001.wav"] == "Ses01M", "the F before it says who wore the markers"


@pytest.mark.parametrize(
    ("name", "speaker", "scenario"),
    [
        ("Ses05M_script01_1b_M020", "Ses05M", "scripted"),
        ("Ses03M_impro08a_F012", "Ses03F", "improvised"),
        ("Ses02F_script03_2_MXX0", "Ses02M", "scripted"),
        ("Ses04M_script02_1_F003", "Ses04F", "scripted"),
    ],
)
def test_all_forms_of_names_of_iemocap_are_known(name, speaker, scenario):
    clip = CORPORA["iemocap"].parse(Path(f"{name}.wav"))
    assert isinstance(clip, Clip)
    assert (clip.speaker, clip.extra["scenario"]) == (speaker, scenario)


def test_iemocap_without_its_evaluations_is_refused_in_words(tmp_path):
    touch(tmp_path, "Ses01F_impro01/Ses01F_impro01_F000.wav")
    with pytest.raises(
        CorpusError, match=r"without the tables .* expected SessionN/dialog/EmoEvaluation/Ses\*\.txt below"
    ):
        find_corpus(tmp_path)


def test_iemocap_sorted_into_class_folders_keeps_its_speakers(tmp_path):
    touch(tmp_path, "ang/Ses01F_impro01_M001.wav", "neu/Ses01F_impro01_F000.wav", "exc/Ses02F_impro01_F000.wav")
    corpus = find_corpus(tmp_path)
    found = {clip.path.stem: (clip.label, clip.speaker, clip.corpus) for clip in corpus.clips}
    assert found["Ses01F_impro01_M001"] == ("angry", "Ses01M", "iemocap")
    assert found["Ses01F_impro01_F000"] == ("neutral", "Ses01F", "iemocap")


# ---------------------------------------------------------------- MELD

HEADER = "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID,Season,Episode,StartTime,EndTime\n"
DEV = (
    HEADER + '1,"Oh my God, he’s lost it.",Phoebe,sadness,negative,0,0,4,7,"00:20:57,256","00:21:00,049"\n'
    '2,What?,Monica,surprise,negative,0,1,4,7,"00:21:01,927","00:21:03,261"\n'
)
TRAIN = HEADER + '1,"also I was, the point person",Chandler,neutral,neutral,0,0,8,21,"00:16:16,059","00:16:21,731"\n'


def test_meld_numbers_dialogues_anew_in_each_part(tmp_path):
    touch(
        tmp_path, "train_splits/dia0_utt0.wav", "dev_splits_complete/dia0_utt0.wav", "dev_splits_complete/dia0_utt1.wav"
    )
    touch(tmp_path, "output_repeated_splits_test/final_videos_testdia0_utt0.mp4", "train_splits/dia0_utt0.mp4")
    write(tmp_path / "train_sent_emo.csv", TRAIN)
    write(tmp_path / "dev_sent_emo.csv", DEV)
    corpus = find_corpus(tmp_path)
    told = {(clip.extra["split"], clip.path.stem): (clip.label, clip.speaker) for clip in corpus.clips}
    assert told == {
        ("train", "dia0_utt0"): ("neutral", "Chandler"),
        ("dev", "dia0_utt0"): ("sad", "Phoebe"),
        ("dev", "dia0_utt1"): ("surprised", "Monica"),
    }
    (warning,) = corpus.warnings
    assert "1 second copy of a test video" in warning
    assert "1 video" in warning


def test_one_speaker_of_meld_may_have_the_same_number_in_two_parts(tmp_path):
    touch(tmp_path, "train_splits/dia0_utt0.wav", "dev_splits_complete/dia0_utt0.wav")
    write(tmp_path / "train_sent_emo.csv", TRAIN.replace("Chandler", "Phoebe"))
    write(tmp_path / "dev_sent_emo.csv", DEV)
    assert len(find_corpus(tmp_path).clips) == 2


# ---------------------------------------------------------------- MSP-Podcast

CONSENSUS = """FileName,EmoClass,EmoAct,EmoVal,EmoDom,SpkrID,Gender,Split_Set
MSP-PODCAST_0001_0008.wav,N,2.2,4.0,2.6,30,Male,Test1
MSP-PODCAST_0001_0009.wav,C,3.777778,3.555556,3.777778,39,Female,Train
MSP-PODCAST_0002_0059.wav,U,4.0,4.0,4.0,Unknown,Unknown,Development
MSP-PODCAST_0003_0271.wav,X,4.0,4.0,4.0,7,Male,Train
MSP-PODCAST_0006_0029.wav,O,4.0,4.0,4.0,7,Male,Train
"""


def test_msp_podcast_takes_everything_from_its_consensus(tmp_path):
    names = re.findall(r"MSP-PODCAST_\d+_\d+\.wav", CONSENSUS)
    touch(tmp_path / "Audios", *names, "MSP-PODCAST_1023_0156_0001.wav")
    write(tmp_path / "Labels" / "labels_consensus.csv", CONSENSUS)
    corpus = find_corpus(tmp_path)
    clips = by_name(corpus)
    assert clips["MSP-PODCAST_0001_0008.wav"] == Clip(
        tmp_path / "Audios" / "MSP-PODCAST_0001_0008.wav",
        "neutral",
        "30",
        "msppodcast",
        extra={"arousal": "2.2", "valence": "4.0", "dominance": "2.6", "gender": "male", "split": "test1"},
    )
    assert (clips["MSP-PODCAST_0001_0009.wav"].label, clips["MSP-PODCAST_0002_0059.wav"].speaker) == ("contempt", None)
    (warning,) = corpus.warnings
    assert warning == (
        "3 files of msppodcast left out: 1 without agreement on an emotion, 1 of another emotion, "
        "1 without a published label"
    )

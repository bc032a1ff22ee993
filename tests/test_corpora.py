import json
import os
import re
from pathlib import Path

import pytest

from emogram.corpora import CORPORA, Corpus, find_corpus
from emogram.corpora.named import claims
from emogram.errors import CorpusError, SettingsError
from emogram.records import Clip


def touch(root: Path, *names: str) -> Path:
    """Make empty files: finding a corpus looks at names only."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def by_name(corpus: Corpus) -> dict[str, Clip]:
    return {clip.path.name: clip for clip in corpus.clips}


def the_warning(corpus: Corpus) -> str:
    (warning,) = corpus.warnings
    return warning


# Known corpora


@pytest.mark.parametrize("name", CORPORA)
def test_each_corpus_claims_its_own_example_and_no_other_does(name):
    folder = {"savee": "DC", "meld": "train_splits"}.get(name, "x")
    assert claims([Path(folder) / CORPORA[name].example]) == {name: 1}
    assert CORPORA[name].name == name


@pytest.mark.parametrize(
    ("file", "corpus", "label", "speaker", "extra"),
    [
        (
            "03-01-06-02-01-02-12.wav",
            "ravdess",
            "fearful",
            "12",
            {"gender": "female", "intensity": "strong", "statement": "01", "repetition": "02"},
        ),
        (
            "Actor_07/03-01-02-01-02-01-07.FLAC",
            "ravdess",
            "calm",
            "07",
            {"gender": "male", "intensity": "normal", "statement": "02", "repetition": "01"},
        ),
        ("OAF_back_ps.opus", "tess", "surprised", "OAF", {"gender": "female", "statement": "back"}),
        ("YAF_angry/YAF_bean_fear.wav", "tess", "fearful", "YAF", {"gender": "female", "statement": "bean"}),
        ("OA_bite_neutral.wav", "tess", "neutral", "OAF", {"gender": "female", "statement": "bite"}),
        ("DC_a01.wav", "savee", "angry", "DC", {"gender": "male", "statement": "a01"}),
        ("AudioData/KL/su15.wav", "savee", "surprised", "KL", {"gender": "male", "statement": "su15"}),
        ("wav/03a01Fa.wav", "emodb", "happy", "03", {"gender": "male", "statement": "a01", "repetition": "a"}),
        ("16b10Lb.wav", "emodb", "boredom", "16", {"gender": "female", "statement": "b10", "repetition": "b"}),
        ("08a02Ac.wav", "emodb", "fearful", "08", {"gender": "female", "statement": "a02", "repetition": "c"}),
        ("1001_DFA_ANG_XX.wav", "cremad", "angry", "1001", {"intensity": "unspecified", "statement": "DFA"}),
        ("1091_IEO_SAD_HI.wav", "cremad", "sad", "1091", {"intensity": "high", "statement": "IEO"}),
        ("EB0_happiness_17.opus", "nemo", "happy", "EB0", {"gender": "female", "statement": "17"}),
        ("1157_hl_acik.opus", "turev", "sad", "1157", {"statement": "acik"}),
        ("7895_hl_ogul1.wav", "turev", "sad", "7895", {"statement": "ogul", "repetition": "1"}),
        (
            "0011/Angry/evaluation/0011_000351.wav",
            "esd",
            "angry",
            "0011",
            {"gender": "male", "language": "en", "statement": "en1"},
        ),
        (
            "0002/0002_001750.wav",
            "esd",
            "surprised",
            "0002",
            {"gender": "female", "language": "zh", "statement": "zh350"},
        ),
        ("0016_000350.wav", "esd", "neutral", "0016", {"gender": "female", "language": "en", "statement": "en350"}),
        ("0020_000701.wav", "esd", "happy", "0020", {"gender": "male", "language": "en", "statement": "en1"}),
        (
            "female1_angry_10a_1.wav",
            "jl",
            "angry",
            "female1",
            {"gender": "female", "statement": "primary 10", "repetition": "a1"},
        ),
        (
            "male2_apologetic_3b_2.wav",
            "jl",
            "apologetic",
            "male2",
            {"gender": "male", "statement": "secondary 3", "repetition": "b2"},
        ),
        ("female/F14A09.wav", "shemo", "angry", "F14", {"gender": "female"}),
        ("male/M02F01.wav", "shemo", "fearful", "M02", {"gender": "male"}),
        ("M30W04.wav", "shemo", "surprised", "M30", {"gender": "male"}),
        ("Angry/SM4_F48_A0100.wav", "urdu", "angry", "SM4", {"gender": "male"}),
        ("Happy/SF1_F1_H01.wav", "urdu", "happy", "SF1", {"gender": "female"}),
        ("Sad/SF10_F2_S02.wav", "urdu", "sad", "SF10", {"gender": "female"}),
    ],
)
def test_a_file_name_tells_label_speaker_and_more(tmp_path, file, corpus, label, speaker, extra):
    found = find_corpus(touch(tmp_path, file))
    assert (found.name, found.kind, found.licence) == (corpus, "audio", CORPORA[corpus].licence)
    assert found.clips == (Clip(tmp_path / file, label, speaker, corpus, extra=extra),)


def test_every_emotion_of_emodb_has_its_german_letter(tmp_path):
    corpus = find_corpus(touch(tmp_path, *(f"03a01{letter}a.wav" for letter in "WLEAFTN")))
    assert corpus.labels == ("angry", "disgust", "fearful", "happy", "neutral", "sad", "boredom")


def test_song_and_video_of_ravdess_are_left_out_and_counted(tmp_path):
    touch(tmp_path, "03-01-03-01-01-01-01.wav", "03-02-03-01-01-01-01.wav", "03-02-03-01-01-02-01.wav")
    touch(tmp_path, "01-01-03-01-01-01-01.mp4", "02-02-03-01-01-01-01.mp4", "01-01-04-01-01-01-01.wav")
    corpus = find_corpus(tmp_path)
    assert [clip.path.name for clip in corpus.clips] == ["03-01-03-01-01-01-01.wav"]
    assert the_warning(corpus) == (
        "5 files of ravdess left out: 3 video (modality 01 or 02), 2 song (vocal channel 02)"
    )


def test_ravdess_without_speech_is_refused_in_its_own_words(tmp_path):
    touch(tmp_path, "03-02-03-01-01-01-01.wav", "01-01-03-01-01-01-01.mp4")
    with pytest.raises(CorpusError, match=r"nothing of ravdess but 1 song \(vocal channel 02\), 1 video"):
        find_corpus(tmp_path)


def test_a_whole_copy_of_a_corpus_within_itself_is_read_once(tmp_path):
    names = [f"Actor_01/03-01-0{emotion}-01-01-01-01.wav" for emotion in (1, 3, 5)]
    touch(tmp_path, *names, *(f"audio_speech_actors_01-24/{name}" for name in names))
    corpus = find_corpus(tmp_path)
    assert len(corpus.clips) == 3
    assert the_warning(corpus).startswith("3 files left out for having the name of another, as copies of it: ")


def test_a_lossless_file_is_preferred_to_its_lossy_copy(tmp_path):
    touch(tmp_path, "AudioMP3/1001_DFA_ANG_XX.mp3", "AudioWAV/1001_DFA_ANG_XX.wav", "VideoFlash/1001_DFA_ANG_XX.flv")
    corpus = find_corpus(tmp_path)
    assert [clip.path.name for clip in corpus.clips] == ["1001_DFA_ANG_XX.wav"]
    assert corpus.warnings[0] == "1 file of cremad left out: 1 video"


def test_savee_speakers_may_share_file_names(tmp_path):
    corpus = find_corpus(touch(tmp_path, "DC/a01.wav", "JE/a01.wav"))
    assert [clip.speaker for clip in corpus.clips] == ["DC", "JE"]


def test_short_names_without_a_speaker_are_not_taken_for_savee(tmp_path):
    corpus = find_corpus(touch(tmp_path, "angry/a01.wav", "sad/sa01.wav"))
    assert corpus.name == tmp_path.name
    assert {clip.speaker for clip in corpus.clips} == {None}


def test_a_few_foreign_files_do_not_hide_a_corpus(tmp_path):
    touch(tmp_path, *(f"EB0_anger_{number}.wav" for number in range(1, 10)), "notes.wav")
    corpus = find_corpus(tmp_path)
    assert (corpus.name, len(corpus.clips)) == ("nemo", 9)
    assert the_warning(corpus) == "1 file not named as in nemo left out: notes.wav"


def test_names_are_believed_before_the_manifest_and_the_folder_beside_them(tmp_path):
    touch(tmp_path, "happy/OAF_back_sad.wav")
    (tmp_path / "MANIFEST.csv").write_text("file,emotion\nhappy/OAF_back_sad.wav,angry\n")
    corpus = find_corpus(tmp_path)
    assert by_name(corpus)["OAF_back_sad.wav"].label == "sad"
    assert "1 file in a folder of another emotion than the name tells" in the_warning(corpus)


def test_a_forced_corpus_takes_few_files_of_many(tmp_path):
    touch(tmp_path, "OAF_back_sad.wav", "sad/x.wav", "sad/y.wav", "angry/z.wav")
    assert find_corpus(tmp_path).labels == ("angry", "sad")
    assert [clip.speaker for clip in find_corpus(tmp_path, name="tess").clips] == ["OAF"]


def test_class_folders_can_be_forced_on_known_names(tmp_path):
    touch(tmp_path, "happy/OAF_back_sad.wav", "sad/OAF_bean_sad.wav")
    corpus = find_corpus(tmp_path, name="folders")
    labels = {name: (clip.label, clip.speaker) for name, clip in by_name(corpus).items()}
    # The name gives its speaker only where it agrees with the folder.
    assert labels == {"OAF_back_sad.wav": ("happy", None), "OAF_bean_sad.wav": ("sad", "OAF")}


def test_a_forced_corpus_that_does_not_fit_is_refused(tmp_path):
    touch(tmp_path, "happy/x.wav")
    with pytest.raises(CorpusError, match=r"no file is named as in tess \(found happy/x.wav; .*OAF_back_angry.wav"):
        find_corpus(tmp_path, name="tess")


def test_an_unknown_corpus_name_is_answered_with_the_known_ones(tmp_path):
    with pytest.raises(SettingsError, match=r"unknown corpus 'fau-aibo'; expected one of ravdess, tess, .*manifest"):
        find_corpus(tmp_path, name="fau-aibo")


def test_pictures_named_as_in_ravdess_keep_their_speakers(tmp_path):
    corpus = find_corpus(touch(tmp_path, "Happy/03-01-03-01-01-01-05.png", "Sad/03-01-04-01-01-01-06.png"))
    assert (corpus.name, corpus.kind) == ("ravdess", "picture")
    assert [(clip.label, clip.speaker) for clip in corpus.clips] == [("happy", "05"), ("sad", "06")]


# Class folders


def test_audio_in_class_folders(tmp_path):
    touch(tmp_path, "01-Angry/b.wav", "01-Angry/a.flac", "fear/c.OGG", "Boredom/d.mp3", "fear/readme.txt")
    corpus = find_corpus(tmp_path)
    assert (corpus.kind, corpus.name, corpus.licence) == ("audio", tmp_path.name, "unknown")
    assert corpus.labels == ("angry", "fearful", "Boredom")
    assert [clip.path.name for clip in corpus.clips] == ["a.flac", "b.wav", "d.mp3", "c.OGG"]
    assert corpus.warnings == ()


def test_pictures_in_class_folders(tmp_path):
    corpus = find_corpus(touch(tmp_path, "Happy/a.png", "Happy/b.JPG", "Sad/c.jpeg"))
    assert (corpus.kind, corpus.labels, len(corpus.clips)) == ("picture", ("happy", "sad"), 3)


def test_any_set_of_labels_works(tmp_path):
    corpus = find_corpus(touch(tmp_path, "ja/a.wav", "Nein/b.wav", "vielleicht/c.wav"))
    assert corpus.labels == ("Nein", "ja", "vielleicht")


@pytest.mark.parametrize("order", ["{label}/Actor_{speaker}", "Actor_{speaker}/{label}", "train/{label}/spk-{speaker}"])
def test_the_level_of_the_emotions_is_found_and_actor_folders_are_speakers(tmp_path, order):
    for label in ("angry", "sad", "boredom"):
        for speaker in ("1", "2"):
            touch(tmp_path, f"{order.format(label=label, speaker=speaker)}/x.wav")
    corpus = find_corpus(tmp_path)
    assert corpus.labels == ("angry", "sad", "boredom")
    assert sorted((clip.label, clip.speaker) for clip in corpus.clips) == [
        (label, speaker) for label in ("angry", "boredom", "sad") for speaker in ("1", "2")
    ]


def test_several_known_corpora_merged_into_class_folders_keep_their_speakers(tmp_path):
    touch(tmp_path, "Angry/03-01-05-01-01-01-05.wav", "Angry/1001_DFA_ANG_XX.wav", "Sad/OAF_back_sad.wav", "Sad/x.wav")
    corpus = find_corpus(tmp_path)
    assert {clip.path.name: (clip.corpus, clip.speaker) for clip in corpus.clips} == {
        "03-01-05-01-01-01-05.wav": ("ravdess", "05"),
        "1001_DFA_ANG_XX.wav": ("cremad", "1001"),
        "OAF_back_sad.wav": ("tess", "OAF"),
        "x.wav": (tmp_path.name, None),
    }
    assert "ravdess: CC BY-NC-SA 4.0" in corpus.licence


def test_a_folder_of_several_corpora_is_not_taken_for_emotions(tmp_path):
    touch(tmp_path, "one/OAF_back_sad.wav", "two/EB0_anger_1.wav", "two/EB0_anger_2.wav")
    with pytest.raises(CorpusError, match=r"several corpora in it \(nemo 2, tess 1\); give the folder of one"):
        find_corpus(tmp_path)


def test_nested_folders_without_a_known_emotion_say_which_were_taken(tmp_path):
    corpus = find_corpus(touch(tmp_path, "p1/ja/a.wav", "p1/nein/b.wav", "p2/ja/c.wav"))
    assert corpus.labels == ("ja", "nein")
    assert "labels are the innermost folders" in the_warning(corpus)


def test_files_outside_class_folders_are_left_out_with_their_names(tmp_path):
    corpus = find_corpus(touch(tmp_path, "angry/a.wav", "b.wav", "c.wav"))
    assert len(corpus.clips) == 1
    assert the_warning(corpus) == "2 files in no class folder left out: b.wav, c.wav"


def test_one_class_alone_is_a_corpus(tmp_path):
    assert find_corpus(touch(tmp_path, "angry/a.wav")).labels == ("angry",)


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    touch(tmp_path, "angry/a.wav", "angry/._a.wav", ".cache/sad/b.wav", "sad/c.wav", ".DS_Store")
    assert [clip.path.name for clip in find_corpus(tmp_path).clips] == ["a.wav", "c.wav"]


def test_links_in_a_circle_come_to_an_end(tmp_path):
    touch(tmp_path, "angry/a.wav", "sad/b.wav")
    (tmp_path / "angry" / "again").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "itself").symlink_to(tmp_path / "itself")
    assert [clip.path.name for clip in find_corpus(tmp_path).clips] == ["a.wav", "b.wav"]


def test_a_linked_class_folder_is_read(tmp_path):
    touch(tmp_path, "elsewhere/a.wav", "root/sad/b.wav")
    (tmp_path / "root" / "angry").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert find_corpus(tmp_path / "root").labels == ("angry", "sad")


def test_an_empty_class_folder_is_refused(tmp_path):
    touch(tmp_path, "angry/a.wav", "sad/b.wav", "notes/readme.txt", "fear/c.txt")
    with pytest.raises(CorpusError, match=r"fear: no usable file in this class folder; .*remove the folder"):
        find_corpus(tmp_path)


def test_pictures_mixed_with_sounds_are_refused(tmp_path):
    touch(tmp_path, "angry/a.wav", "sad/b.wav", "sad/b.png")
    with pytest.raises(CorpusError, match="2 sound files and 1 picture in it; expected one kind"):
        find_corpus(tmp_path)


def test_a_cover_picture_does_not_make_a_mixture(tmp_path):
    corpus = find_corpus(touch(tmp_path, "angry/a.wav", "sad/b.wav", "cover.png"))
    assert (corpus.kind, len(corpus.clips)) == ("audio", 2)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "the folder is empty; expected a folder of sound files"),
        (["a.txt", "b.txt", "c.pdf"], r"no sound or picture file in it \(found 2 .txt, 1 .pdf\)"),
        (
            ["a.wav", "b.wav"],
            r"nothing tells the emotion of its 2 files \(a.wav, b.wav\); expected one folder for each",
        ),
        (["a.wav", "MANIFEST.csv"], "nothing tells the emotion of its 1 file; give the manifest MANIFEST.csv itself"),
        (["angry/a.mp4"], "1 video files and no sound; extract the sound"),
    ],
)
def test_a_folder_that_is_no_corpus_is_refused(tmp_path, names, message):
    touch(tmp_path, *names)
    with pytest.raises(CorpusError, match=message):
        find_corpus(tmp_path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", "nowhere: no such folder or file; expected a folder"),
        ("a.wav", "is a single sound file; expected a folder"),
        ("a.docx", "a file that is no manifest; expected"),
    ],
)
def test_a_path_that_is_no_corpus_is_refused(tmp_path, name, message):
    touch(tmp_path, "a.wav", "a.docx")
    with pytest.raises(CorpusError, match=message):
        find_corpus(tmp_path / name)


# metadata.csv, as `emogram spectrograms` writes it


def test_metadata_gives_pictures_their_speakers_and_corpus(tmp_path):
    touch(tmp_path, "Happy/a01.png", "Sad/a02.png")
    (tmp_path / "metadata.csv").write_text(
        "file_name,label,speaker,corpus,config_hash\nHappy/a01.png,happy,07,ravdess,abc\nSad/a02.png,sad,08,ravdess,abc\n"
    )
    corpus = find_corpus(tmp_path)
    assert (corpus.name, corpus.kind, corpus.licence) == ("ravdess", "picture", "CC BY-NC-SA 4.0")
    assert by_name(corpus)["a01.png"] == Clip(
        tmp_path / "Happy/a01.png", "happy", "07", "ravdess", extra={"config_hash": "abc"}
    )
    assert corpus.warnings == ()


def test_a_picture_that_metadata_does_not_list_is_labelled_by_its_folder(tmp_path):
    touch(tmp_path, "Happy/a.png", "Sad/new.png")
    (tmp_path / "metadata.csv").write_text("file_name,label,speaker,corpus\nHappy/a.png,happy,07,mine\n")
    corpus = find_corpus(tmp_path)
    assert {clip.path.name: (clip.label, clip.speaker) for clip in corpus.clips} == {
        "a.png": ("happy", "07"),
        "new.png": ("sad", None),
    }
    assert the_warning(corpus) == "1 file not in metadata.csv, labelled by folder: Sad/new.png"


def test_metadata_labels_files_that_lie_flat(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.wav,anger\nb.wav,boredom\n")
    assert [clip.label for clip in find_corpus(tmp_path).clips] == ["angry", "boredom"]


def test_metadata_of_another_meaning_is_passed_over(tmp_path):
    touch(tmp_path, "angry/a.wav")
    (tmp_path / "metadata.csv").write_text("title,author\nx,y\n")
    corpus = find_corpus(tmp_path)
    assert corpus.labels == ("angry",)
    assert re.fullmatch("not used: .*metadata.csv: no column for the path; .*", the_warning(corpus))


def test_files_that_metadata_names_in_vain_are_counted(tmp_path):
    touch(tmp_path, "Happy/a.png")
    (tmp_path / "metadata.csv").write_text("file_name,label\nHappy/a.png,happy\nHappy/b.png,happy\n")
    assert the_warning(find_corpus(tmp_path)) == "1 file that metadata.csv names not found: Happy/b.png"


# Manifests


def write(path: Path, text: str, encoding: str = "utf-8") -> Path:
    path.write_bytes(text.encode(encoding))
    return path


def test_a_csv_manifest_with_all_columns(tmp_path):
    touch(tmp_path, "sound/a.wav", "sound/b.wav")
    manifest = write(
        tmp_path / "list.csv",
        "path,label,speaker,start,end,corpus,mood\n"
        "sound/a.wav, Fear ,s1,0.5,2,mine,grim\n"
        "sound/a.wav,Bored,s1,2,,mine,\n"
        "sound/b.wav,bored,,,,mine,\n",
    )
    corpus = find_corpus(manifest)
    assert (corpus.name, corpus.kind, corpus.root) == ("mine", "audio", manifest)
    assert corpus.labels == ("fearful", "Bored")
    assert corpus.clips == (
        Clip(tmp_path / "sound/a.wav", "fearful", "s1", "mine", 0.5, 2.0, {"mood": "grim"}),
        Clip(tmp_path / "sound/a.wav", "Bored", "s1", "mine", 2.0, None, {}),
        Clip(tmp_path / "sound/b.wav", "Bored", None, "mine", 0.0, None, {}),
    )


def test_all_forms_of_one_manifest_say_the_same(tmp_path):
    touch(tmp_path, "ä.wav", "b.wav")
    table = "path,label,speaker,start\nä.wav,happy,1,0.5\nb.wav,sad,2,\n"
    rows = [
        {"path": "ä.wav", "label": "happy", "speaker": 1, "start": 0.5},
        {"path": "b.wav", "label": "sad", "speaker": "2"},
    ]
    manifests = [
        write(tmp_path / "comma.csv", table),
        write(tmp_path / "bom.csv", table, "utf-8-sig"),
        write(tmp_path / "semicolon.csv", table.replace(",", ";")),
        write(tmp_path / "tab.tsv", table.replace(",", "\t").replace("\n", "\r\n")),
        write(tmp_path / "aliases.csv", table.replace("path,label", "File_Name, Emotion").replace("\n", "\n\n")),
        write(tmp_path / "lines.jsonl", "\n".join(json.dumps(row) for row in rows)),
        write(tmp_path / "absolute.csv", table.replace("b.wav", str(tmp_path / "b.wav"))),
    ]
    first, *others = [find_corpus(manifest).clips for manifest in manifests]
    assert [(clip.label, clip.speaker, clip.start_s) for clip in first] == [("sad", "2", 0.0), ("happy", "1", 0.5)]
    assert all(other == first for other in others)


def test_a_manifest_of_pictures(tmp_path):
    touch(tmp_path, "a.png")
    assert find_corpus(write(tmp_path / "m.csv", "path,label\na.png,sad\n")).kind == "picture"


def test_missing_files_are_counted_and_the_rest_is_kept(tmp_path):
    touch(tmp_path, "a.wav")
    lines = "".join(f"{name}.wav,sad\n" for name in "abcde")
    corpus = find_corpus(write(tmp_path / "m.csv", "path,label\n" + lines))
    assert [clip.path.name for clip in corpus.clips] == ["a.wav"]
    assert the_warning(corpus) == "4 files that the manifest names not found: b.wav, c.wav, d.wav, ..."


def test_lines_without_a_label_are_left_out(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    corpus = find_corpus(write(tmp_path / "m.csv", "path,label\na.wav,sad\nb.wav,\n"))
    assert len(corpus.clips) == 1
    assert the_warning(corpus) == "1 line without a label left out"


def test_one_clip_with_two_labels_is_kept_once_with_a_warning(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    corpus = find_corpus(write(tmp_path / "m.csv", "path,label\na.wav,sad\na.wav,happy\nb.wav,sad\nb.wav,sadness\n"))
    assert [clip.label for clip in corpus.clips] == ["sad", "sad"]
    assert corpus.warnings == (
        "1 line with another label than an earlier line for the same clip left out: a.wav",
        "1 line given twice, used once: b.wav",
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no lines in it"),
        ("path,label\n", "no lines in it"),
        ("path,label\nx.wav,sad\n", r"none of the 1 file it names is there \(x.wav\); paths are relative"),
        ("path,label\na.wav,\n", "none of its 1 line has a label"),
        ("name,label\na.wav,sad\n", "no column for the path; expected one of path, file, .*found name, label"),
        ("path,mood\na.wav,sad\n", "no column for the label; expected one of label, emotion, found path, mood"),
        ("path,label,start\na.wav,sad,soon\n", "line 2: start is 'soon'; expected seconds"),
        ("path,label,end\na.wav,sad,nan\n", "line 2: end is 'nan'; expected seconds"),
        ("path,label,start\na.wav,sad,-1\n", "line 2: start is '-1'; expected seconds"),
        ("path,label,start,end\na.wav,sad,2,1.5\n", "line 2: ends at 1.5 s and starts at 2 s; expected end > start"),
        ("path,label\na.wav,sad\nb.png,sad\n", "names 1 picture and 1 sound file; expected one kind"),
        ("path,label\n" + "x" * 300 + ",sad\n", "none of the 1 file it names is there"),
    ],
)
def test_a_bad_csv_manifest_is_refused(tmp_path, text, message):
    touch(tmp_path, "a.wav", "b.png")
    with pytest.raises(CorpusError, match=message):
        find_corpus(write(tmp_path / "m.csv", text))


@pytest.mark.parametrize("line", ["[1]", "not json", '{"path": ', '"text"'])
def test_a_bad_line_of_json_is_named_by_its_number(tmp_path, line):
    touch(tmp_path, "a.wav")
    manifest = write(tmp_path / "m.jsonl", '{"path": "a.wav", "label": "sad"}\n' + line)
    with pytest.raises(CorpusError, match="line 2: no JSON object"):
        find_corpus(manifest)


def test_a_manifest_that_is_not_utf8_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"not UTF-8 text \(byte 11\); save it again"):
        find_corpus(write(tmp_path / "m.csv", "path,label\näh.wav,sad\n", "latin-1"))


def test_a_name_that_contradicts_the_kind_of_path_is_refused(tmp_path):
    touch(tmp_path, "m.csv", "angry/a.wav")
    with pytest.raises(CorpusError, match=r"m.csv: is a file; expected a folder for the corpus 'tess'"):
        find_corpus(tmp_path / "m.csv", name="tess")
    with pytest.raises(CorpusError, match="is a folder; expected a manifest"):
        find_corpus(tmp_path, name="manifest")


def test_a_folder_that_may_not_be_opened_is_named(tmp_path):
    touch(tmp_path, "angry/a.wav", "sad/b.wav")
    (tmp_path / "sad").chmod(0)
    try:
        if os.access(tmp_path / "sad", os.R_OK):
            pytest.skip("this user may open any folder")
        with pytest.raises(CorpusError, match="sad: no usable file"):
            find_corpus(tmp_path)
    finally:
        (tmp_path / "sad").chmod(0o755)


# Real corpora


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("name", "n_clips", "n_speakers", "n_labels"),
    [("ravdess", 1440, 24, 8), ("tess", 700, 2, 7), ("nemo", 4481, 9, 6), ("turev", 1735, 6, 4)],
)
def test_real_corpora_agree_with_their_published_counts(corpora_root, name, n_clips, n_speakers, n_labels):
    if not (corpora_root / name).is_dir():
        pytest.skip(f"no {name} at {corpora_root}")
    corpus = find_corpus(corpora_root / name)
    assert (corpus.name, len(corpus.clips), len(corpus.labels)) == (name, n_clips, n_labels)
    assert len({clip.speaker for clip in corpus.clips}) == n_speakers
    assert corpus.warnings == ()


@pytest.mark.corpora
@pytest.mark.parametrize("name", ["ravdess", "tess", "nemo", "turev"])
def test_names_and_manifest_tell_the_same_of_a_real_corpus(corpora_root, name):
    manifest = corpora_root / name / "MANIFEST.csv"
    if not manifest.is_file():
        pytest.skip(f"no {manifest}")
    named, listed = (find_corpus(path).clips for path in (manifest.parent, manifest))
    assert [(clip.path, clip.label, clip.speaker) for clip in named] == [
        (clip.path, clip.label, clip.speaker) for clip in listed
    ]
    for clip, line in zip(named, listed, strict=True):
        assert clip.extra.items() <= line.extra.items()

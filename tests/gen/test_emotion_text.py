"""Emotions in sentences: terms, negation, degree, and ignored words."""

import pytest

from gen.emotion.spec import Emotion
from gen.emotion.text import read
from gen.errors import InputError
from gen.notes import collect


def parsed(text: str) -> tuple[Emotion, list[str]]:
    with collect() as notes:
        return Emotion.parse(text), notes


SAID = {  # text -> what it is read as, printed
    "happy": "happy",
    "I am happy": "happy",
    "not happy": "-happy",
    "can't be happy": "-happy",
    "cannot be happy": "-happy",
    "I cant be happy": "-happy",
    "I didn't feel happy": "-happy",
    "I didn’t feel happy": "-happy",
    "nothing makes me happy": "-happy",
    "nobody is happy": "-happy",
    "no one was afraid": "-fear",
    "I am hardly happy": "-happy",
    "rarely happy": "-happy",
    "far from happy": "-happy",
    "anything but calm": "-calm",
    "she refused to be happy": "-happy",
    "he failed to be calm": "-calm",
    "I wish I were happy": "-happy",
    "if only I were happy": "-happy",
    "I used to be happy": "-happy",
    "she was no longer afraid": "-fear",
    "I am not angry any more": "-anger",
    "not at all happy": "-happy",
    "not happy at all": "-happy",
    "he is not the least bit afraid": "-fear",
    "I don't think anybody in the room was happy": "-happy",
    "without fear": "-fear",
    "no fear": "-fear",
    "free of fear": "-fear",
    "not without joy": "happy",
    "neither happy nor sad": "- happy 0.5 - sad 0.5",
    "not sad or angry": "- anger 0.5 - sad 0.5",
    "not unhappy": "-unhappy",
    "not very happy": "-happy @ 0.5",
    "not so sad": "-sad @ 0.5",
    "never been so happy": "happy @ 1.5",
    "I have never been so happy": "happy @ 1.5",
    "we were never this happy": "happy @ 1.5",
    "never been happier": "happy @ 1.5",
    "I couldn't be happier": "happy @ 1.5",
    "I can't be any happier": "happy @ 1.5",
    "she hasn't been so happy in years": "happy @ 1.5",
    "never happy": "-happy",
    "No wonder she was happy": "happy",
    "without a doubt happy": "happy",
    "not only sad but also angry": "anger 0.5 + sad 0.5",
    "nothing but joy": "happy",
    "I can't help feeling sad": "sad",
    "I wonder whether she is sad": "sad",
    "I'm not sad, I'm furious": "furious 0.5 - sad 0.5",
    "I was sad but I am hopeful": "hopeful 0.5 + sad 0.5",
    "We are excited and not nervous": "excited 0.5 - nervous 0.5",
    "instead of joy he felt grief": "grief 0.5 - happy 0.5",
    "too tired to be angry": "tired 0.565217 - anger 0.434783 @ 1.15",
    "very happy": "happy @ 1.4",
    "very very happy": "happy @ 1.96",
    "slightly sad": "sad @ 0.5",
    "a little bit sad": "sad @ 0.5",
    "kind of sad": "sad @ 0.6",
    "sort of happy": "happy @ 0.6",
    "barely annoyed": "annoyed @ 0.3",
    "absolutely furious": "furious @ 1.6",
    "terribly lonely": "lonely @ 1.5",
    "madly in love": "love @ 1.6",
    "sadder": "sad",
    "the saddest day": "sad @ 1.3",
    "less happy": "happy @ 0.6",
    "My dog died": "grief",
    "We won the game": "happy @ 0.9",
    "He cried all night": "sad",
    "I hated every minute": "hate",
    "she laughed": "happy",
    "not bad": "-unhappy @ 0.9",
    "She is so tired of being alone": "tired 0.619048 + sad 0.380952 @ 1.05",
    "I can't wait to see you": "eager",
    "my heart is broken": "heartbroken",
    "don't worry, be happy": "happy 0.5 - worry 0.5",
    "he laughed until he cried": "happy 0.5 + sad 0.5",
    "bittersweet longing": "bittersweet 0.5 + longing 0.5",
}


@pytest.mark.parametrize("text", SAID)
def test_a_sentence_says(text):
    assert str(parsed(text)[0]) == SAID[text]
    assert Emotion.parse(SAID[text]) == parsed(text)[0]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("happy in D minor", "'D minor'"),
        ("calm, low density", "'low density'"),
        ("My dog died", "'dog'"),
        ("a sad waltz with cellos and a joyful coda", "'waltz with cellos', 'coda'"),
        ("Je suis content", "(only English is supported): 'Je suis'"),
    ],
)
def test_ignored_words_are_named(text, named):
    _, notes = parsed(text)
    assert len(notes) == 1 and named in notes[0]


@pytest.mark.parametrize("text", ["not very happy", "happy 0.7 + surprise 0.3 @ 1.2", "v=0.5 a=-0.2", "I feel so sad"])
def test_understood_words_are_not_noted(text):
    assert parsed(text)[1] == []


@pytest.mark.parametrize("text", ["Ich bin sehr glücklich", "Я счастлив", "estoy muy feliz", "嬉しい"])
def test_other_languages_name_english(text):
    with pytest.raises(InputError, match="only English is supported"):
        Emotion.parse(text)


def test_a_misspelt_word_is_not_another_language():
    with pytest.raises(InputError, match=r"unknown emotion 'hapy'; the nearest terms are happy"):
        Emotion.parse("hapy")


def test_number_words_are_not_emotions():
    assert read("the number of chairs").terms == ()

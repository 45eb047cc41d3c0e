"""Texts that tokenizers are compared on: many scripts, emoji, spaces, controls, and texts that look like tokens."""

# ruff: noqa: RUF001 - letters that look alike are what is tried

from collections.abc import Sequence

# By what each group tries.
GROUPS: dict[str, tuple[str, ...]] = {
    "English": (
        "The quick brown fox jumps over the lazy dog.",
        "I can't believe it's not butter -- don't you?",
        "MIXED Case, CamelCase and SHOUTING; iPhone, McDonald's.",
        "state-of-the-art (well-known) e.g. i.e. etc...",
        "a",
        "unbelievableness antidisestablishmentarianism",
    ),
    "Latin with accents": (
        "Zażółć gęślą jaźń, déjà vu, Ærøskøbing, façade",
        "Größe Straße ẞ İstanbul ıI ŁÓDŹ",
        "tiếng Việt rất đẹp",
        "Cafe\u0301 A\u030angstro\u0308m e\u0301\u0302\u0323",
        "ﬁne ﬂow ½ ² ㎏ № ™ Ⅷ",
    ),
    "Greek": ("Καλημέρα κόσμε, ΟΔΥΣΣΕΎΣ Σίσυφος", "ΆΈΉ ΐ ΰ"),
    "Cyrillic": ("Съешь же ещё этих мягких французских булок", "Їжак, Ґанок, Ў Ђ Љ"),
    "Armenian and Georgian": ("Բարև Ձեզ", "გამარჯობა მსოფლიო ᲐᲑᲒ"),
    "Hebrew": ("שלום עולם", "שָׁלוֹם עֲלֵיכֶם"),
    "Arabic": ("مرحبا بالعالم", "السَّلَامُ عَلَيْكُمْ ١٢٣", "ﷺ لا"),
    "Devanagari and others of India": ("नमस्ते दुनिया क्षत्रिय १२३", "বাংলা ভাষা", "தமிழ் மொழி", "తెలుగు"),
    "Thai, Lao, Khmer, Burmese": ("สวัสดีชาวโลก ำ", "ສະບາຍດີ", "សួស្តី", "မင်္ဂလာပါ"),
    "Chinese": ("今天天气很好。", "漢字 GPT模型 2024年", "𠮷野家 㐀 豈", "Ｆｕｌｌ　ｗｉｄｔｈ：１２３！"),
    "Japanese": ("こんにちは世界", "ｶﾀｶﾅ カタカナ がぎ か\u3099", "東京タワーに行った。"),
    "Korean": ("안녕하세요 세계", "\u1112\u1161\u11ab\u1100\u1173\u11af", "ㅋㅋㅋ"),
    "Emoji": (
        "I ❤️ 🍕 😀😀",
        "👩\u200d👩\u200d👧\u200d👦 👍🏽 🏳️\u200d🌈 🇩🇪🇫🇷",
        "1️⃣ #️⃣ ☎︎ ☎️",
    ),
    "Spaces": (
        "",
        " ",
        "   ",
        "\t\n\r ",
        "  leading and trailing  ",
        "two  spaces   three",
        "line one\nline two\r\nline three\n\n\nline six",
        "tab\tseparated\tvalues",
        "no\u00a0break thin\u2009ideographic\u3000zero\u200bwidth\ufefffirst \u2028 \u2029 \u0085 end",
    ),
    "Controls": (
        "nul \x00 inside",
        "\x00",
        "bell \x07 escape \x1b[0m delete \x7f",
        "soft\u00adhyphen \u200e\u200fmarks \u202eoverride\u202c",
        "replacement \ufffd private \ue000 \U0010ffff unassigned \u0378",
    ),
    "Numbers": (
        "3.14159 1,000,000 1e-9 0x1F 50% $9.99",
        "2024-02-29T23:59:60Z",
        "1234567890123456789012345",
        "x²+y³=z⁴",
    ),
    "Addresses": (
        "https://example.com/a/b?c=d&e=%20f#g user@example.org",
        "C:\\Temp\\file_name.txt ../x/*.py <tag attr='v'>&amp;</tag>",
        "def f(x):\n    return x ** 2  # comment",
    ),
    "Special tokens": (
        "[SEP] [CLS] [MASK] [PAD] [UNK]",
        "a[SEP]b [sep] [ SEP ] [MASK]s",
        "<s> </s> <pad> <unk> <mask> a</s>b <mask>, <mask>s",
        "<|endoftext|> <|startoftext|> <|im_start|>user",
        "<extra_id_0> ▁ ▁▁ Ġ Ċ </w> ## ##ing <0x0A>",
    ),
    "Punctuation": (
        "!!!???...,,,;;;:::",
        "“quotes” ‘single’ «guillemets» „low“ 「corner」",
        "a_b a-b a–b a—b a…b a·b a•b",
        "'s 't 're 've 'm 'll 'd 'S 'LL",
        "^ ` ~ | \\ / @ # $ % & * ( ) [ ] { } < > = +",
    ),
    "Long": (
        "word " * 1000,
        "x" * 5000,
        "ab" * 300,
        "日本" * 400,
        "𝔘𝔫𝔦𝔠𝔬𝔡𝔢 " * 100,
        "é" * 101,
        "a\u0300" * 101,
    ),
}
TEXTS: Sequence[str] = tuple(text for group in GROUPS.values() for text in group)

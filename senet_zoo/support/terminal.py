"""Text that cannot move a terminal's cursor, whoever wrote it: file names, class names, a server's words."""

_OBEYED = [*range(0x20), *range(0x7F, 0xA0), 0x61C, 0x200E, 0x200F, 0x2028, 0x2029]
_OBEYED += [*range(0x202A, 0x202F), *range(0x2066, 0x206A), *range(0xD800, 0xE000)]
_ESCAPES = {code: ascii(chr(code))[1:-1] for code in _OBEYED}  # controls, turns of a line's direction, broken bytes
_ESCAPES_EXCEPT_LINES = {code: text for code, text in _ESCAPES.items() if chr(code) not in "\n\t"}


def visible(text: str) -> str:
    """The text on one line, with escapes in place of what a terminal obeys or cannot show."""
    return text.translate(_ESCAPES)


def visible_lines(text: str) -> str:
    """The same, except that line breaks and tabs stay."""
    return text.translate(_ESCAPES_EXCEPT_LINES)

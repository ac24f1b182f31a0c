// The words of well-known patterns without a regular expression, where ASCII alone decides them.
#pragma once

#include <cstddef>
#include <string_view>

namespace fusec::models::bpe {

// The end of the word that begins at text[at], as the pattern cuts it; 0 if a byte from 0x80 on is
// involved, so that only the regular expression can tell. Requires at < text.size() and a text that
// is UTF-8.
using FastWord = size_t (*)(std::string_view text, size_t at);

// For these very patterns, else null.
FastWord fast_word_of(std::string_view pattern);

}  // namespace fusec::models::bpe

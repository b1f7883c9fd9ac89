// Numbers and names as people read them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scute/data/text_input.h"
#include "scute/models/scheme.h"

namespace scute::cli {

std::string grouped(int64_t n);                          ///< "1,234,567"
std::string count_of(int64_t n, std::string_view noun);  ///< "1 sample", "1,234 samples"
std::string bytes_text(int64_t bytes);                   ///< "74.2 KB", "1.3 GB" (powers of 1000)
std::string duration_text(double seconds);  ///< "0.42 s", "12.3 s", "4 min 10 s", "2 h 05 min"
std::string fixed(double x, int digits);    ///< "-" for what is not a number
std::string significant(double x, int digits = 4);  ///< shortest with that many digits
std::string range_text(double lo, double hi);       ///< "-1.5 .. 2.25", four digits each
/// "at least 97.0": what `bound` says of a share of which all items were hit, or none ("at most").
std::string bound_text(double share, const std::string& bound);
std::string short_hash(std::string_view hex);  ///< its first 12 digits

/// The words of texts that may be lists with commas themselves; empty ones are left out.
std::vector<std::string> words_of(const std::vector<std::string>& texts);
/// The time now, in the words of strftime.
std::string local_time(const char* format);

/// What a protocol says of them: "no added tokens", or that the tokenizer's are around each text.
std::string special_tokens_text(const TextInput& input);
/// "f32" or "bf16"; where 8-bit products are simulated it says so.
std::string compute_name(const Execution& execution);
/// A name or a message of unknown origin: control characters, which would steer a terminal, and
/// bytes that are no UTF-8 as \x1b.
std::string printable(std::string_view text);
/// The same of words that the program put together: their line ends and tabs stay.
std::string printable_lines(std::string_view text);
/// One line for standard error: printable, and of more than 2,000 characters the first ones with
/// how many there are.
std::string printable_line(std::string_view text);
/// A word of a command line, quoted for a POSIX shell where it must be.
std::string shell_word(std::string_view word);
/// "scute VERB WORD…", ready to be pasted.
std::string shell_command(const std::vector<std::string>& words);

}  // namespace scute::cli

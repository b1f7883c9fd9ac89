// Regular expressions as tokenizer.json holds them, in the words of Pattern.
#pragma once

#include <string>
#include <string_view>

namespace scute {

/// White_Space as the inside of a character class.
std::string_view white_space_class();

/// `expression` as the Hugging Face library reads it (Oniguruma, Ruby's syntax, Unicode 16), for
/// Pattern: \s, \w and scripts there are other sets than Perl's, and \p{Letter} is \p{L}; of
/// general categories and of \w only [\P{L}] lacks what is known of later characters. What can
/// repeat gets the marks at which Pattern counts its steps. What means another thing in Perl or
/// nothing (nested classes, &&, options that begin in the middle, \b, \h, \v, \pL, {,3}, a{3}?, …)
/// is an Error naming `where` and it.
std::string perl_expression(std::string_view expression, std::string_view where);

/// An expression that matches `text` and nothing else.
std::string literal_expression(std::string_view text);

}  // namespace scute

#include "scute/text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <new>
#include <string>

#include "scute/base/error.h"

namespace scute {
namespace {

std::string message_of(int code) {
  unsigned char text[160];
  const int length = pcre2_get_error_message(code, text, sizeof text);
  if (length < 0) return "error " + std::to_string(code);
  return {reinterpret_cast<const char*>(text), static_cast<size_t>(length)};
}

PCRE2_SPTR units(std::string_view text) {
  // PCRE2 accepts no null pointer, which an empty view may hold.
  return reinterpret_cast<PCRE2_SPTR>(text.data() == nullptr ? "" : text.data());
}

}  // namespace

struct Pattern::Code {
  ~Code() { pcre2_code_free(code); }
  pcre2_code* code = nullptr;
};

struct Pattern::Search::Memory {
  ~Memory() { pcre2_match_data_free(data); }
  pcre2_match_data* data = nullptr;
};

Pattern::Pattern(std::string_view expression) : code_(std::make_unique<Code>()) {
  int problem = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(units(expression), expression.size(), PCRE2_UTF | PCRE2_UCP, &problem,
                              &offset, nullptr);
  if (code_->code == nullptr) {
    fail("regular expression " + std::string(expression), "a valid one",
         message_of(problem) + " at byte " + std::to_string(offset));
  }
  // Without a just-in-time compiler (none for this processor, no executable memory allowed)
  // pcre2_match interprets the same expression: slower, same result.
  (void)pcre2_jit_compile(code_->code, PCRE2_JIT_COMPLETE);
}

Pattern::Pattern(Pattern&&) noexcept = default;
Pattern& Pattern::operator=(Pattern&&) noexcept = default;
Pattern::~Pattern() = default;

Pattern::Search::Search(const Pattern& pattern)
    : pattern_(pattern), memory_(std::make_unique<Memory>()) {
  memory_->data = pcre2_match_data_create(1, nullptr);
  if (memory_->data == nullptr) throw std::bad_alloc();
}

Pattern::Search::~Search() = default;

std::optional<size_t> Pattern::Search::length_at(std::string_view text, size_t at) {
  const auto found = match(text, at, PCRE2_ANCHORED);
  if (!found) return std::nullopt;
  return found->end - found->begin;
}

std::optional<Pattern::Search::Match> Pattern::Search::next(std::string_view text, size_t at) {
  return match(text, at, 0);
}

std::optional<Pattern::Search::Match> Pattern::Search::match(std::string_view text, size_t at,
                                                             uint32_t options) {
  int result = pcre2_match(pattern_.code_->code, units(text), text.size(), at,
                           options | PCRE2_NO_UTF_CHECK, memory_->data, nullptr);
  // Compiled code has 32 KB of stack; the interpreter takes what it needs from the heap.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result = pcre2_match(pattern_.code_->code, units(text), text.size(), at,
                         options | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, memory_->data, nullptr);
  }
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result < 0) {
    fail("text at byte " + std::to_string(at), "text that can be cut into words",
         message_of(result));
  }
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(memory_->data);
  // A lookahead may move the end before the begin (\K in it); such a match is none.
  if (bounds[1] < bounds[0]) return std::nullopt;
  return Match{bounds[0], bounds[1]};
}

}  // namespace scute

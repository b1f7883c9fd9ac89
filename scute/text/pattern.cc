#include "scute/text/pattern.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <fmt/format.h>

#include <algorithm>
#include <new>
#include <utility>

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

/// A published expression took at most 6 steps a byte of the texts that were tried (long runs of
/// one kind among them).
constexpr size_t kStepsPerByte = 200;
/// So that a short text may take some too.
constexpr size_t kBytesAtLeast = 1000;
/// PCRE2's default.
constexpr size_t kMatchLimit = 10000000;
/// 1 GB, in KB: what PCRE2's interpreter may take where its compiled code does not do.
constexpr uint32_t kHeapLimit = 1 << 20;

}  // namespace

struct Pattern::Code {
  ~Code() { pcre2_code_free(code); }
  pcre2_code* code = nullptr;
  std::string written;
};

struct Pattern::Search::Memory {
  Memory() = default;
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() {
    pcre2_match_context_free(context);
    pcre2_match_data_free(data);
  }

  /// A step for the place itself and one for each byte between it and the place before.
  static int count(pcre2_callout_block* block, void* memory) {
    auto& own = *static_cast<Memory*>(memory);
    const size_t start = block->start_match, at = block->current_position;
    if (start != own.start) own.at = own.start = start;
    own.steps += 1 + std::max(at, own.at) - std::min(at, own.at);
    own.at = at;
    return own.steps > own.limit ? PCRE2_ERROR_CALLOUT : 0;
  }

  pcre2_match_data* data = nullptr;
  pcre2_match_context* context = nullptr;  ///< null: steps are not counted
  size_t steps = 0, limit = 0;
  size_t start = 0, at = 0;  ///< of the last place: its match's begin, and itself
};

Pattern::Pattern(std::string_view expression, std::string written)
    : code_(std::make_unique<Code>()) {
  code_->written = std::move(written);
  int problem = 0;
  PCRE2_SIZE offset = 0;
  code_->code = pcre2_compile(units(expression), expression.size(), PCRE2_UTF | PCRE2_UCP, &problem,
                              &offset, nullptr);
  if (code_->code == nullptr) {
    fail(code_->written.empty() ? "regular expression " + std::string(expression) : code_->written,
         "a valid regular expression", message_of(problem) + " at byte " + std::to_string(offset));
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
  if (pattern.code_->written.empty()) return;
  memory_->context = pcre2_match_context_create(nullptr);
  if (memory_->context == nullptr) throw std::bad_alloc();
  pcre2_set_callout(memory_->context, Memory::count, memory_.get());
  pcre2_set_heap_limit(memory_->context, kHeapLimit);
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
  memory_->limit = kStepsPerByte * (text.size() + kBytesAtLeast);
  if (memory_->context != nullptr) {
    // Of what repeats between two places: PCRE2's own count, of one match.
    const size_t most = std::min(memory_->limit, kMatchLimit);
    pcre2_set_match_limit(memory_->context, static_cast<uint32_t>(most));
  }
  int result = pcre2_match(pattern_.code_->code, units(text), text.size(), at,
                           options | PCRE2_NO_UTF_CHECK, memory_->data, memory_->context);
  // Compiled code has 32 KB of stack; the interpreter takes what it needs from the heap.
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) {
    result =
        pcre2_match(pattern_.code_->code, units(text), text.size(), at,
                    options | PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, memory_->data, memory_->context);
  }
  if (result == PCRE2_ERROR_NOMATCH) return std::nullopt;
  if (result == PCRE2_ERROR_CALLOUT || result == PCRE2_ERROR_MATCHLIMIT ||
      result == PCRE2_ERROR_HEAPLIMIT) {
    fail(pattern_.code_->written.empty() ? "regular expression" : pattern_.code_->written,
         fmt::format("an expression that takes at most {} steps a byte of text (the limit, so that "
                     "no file can make a text take forever)",
                     kStepsPerByte),
         fmt::format("more on a text of {} bytes, at byte {}", text.size(), at));
  }
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

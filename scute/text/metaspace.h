// SentencePiece's way with blanks: each becomes a visible sign, and words begin with it.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "scute/base/json.h"

namespace scute {

class Metaspace {
 public:
  enum class Prepend { always, first, never };

  /// A pre-tokenizer or decoder of type Metaspace; Error naming `at` otherwise.
  static Metaspace parse(const Json& node, const std::string& at);

  /// Calls piece() for each; "first" prepends only where `at_start` says that the text begins.
  void split(std::string_view text, bool at_start,
             const std::function<void(std::string_view piece, bool at_start)>& piece) const;

  const std::string& sign() const { return sign_; }
  Prepend prepend() const { return prepend_; }

 private:
  std::string sign_;
  Prepend prepend_ = Prepend::always;
  bool cut_ = true;
};

/// `text` with every `from` replaced by `to`.
std::string replaced(std::string_view text, std::string_view from, std::string_view to);

}  // namespace scute

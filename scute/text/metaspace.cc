#include "scute/text/metaspace.h"

#include <algorithm>

#include "scute/base/error.h"
#include "scute/text/json_member.h"
#include "scute/text/utf8.h"

namespace scute {

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  for (size_t at = 0;;) {
    const size_t found = std::min(text.find(from, at), text.size());
    out += text.substr(at, found - at);
    if (found == text.size()) return out;
    out += to;
    at = found + from.size();
  }
}

Metaspace Metaspace::parse(const Json& node, const std::string& at) {
  Metaspace out;
  out.sign_ = node.at("replacement", at).as_string(at + ".replacement");
  if (out.sign_.empty() || read_code_point(out.sign_, 0).bytes != out.sign_.size()) {
    fail(at + ".replacement", "one character", Json(out.sign_).dump());
  }
  out.cut_ = flag(node, "split", true, at);
  const Json* scheme = present(node, "prepend_scheme");
  const std::string word = scheme == nullptr ? "always" : scheme->as_string(at + ".prepend_scheme");
  if (word != "always" && word != "first" && word != "never") {
    fail(at + ".prepend_scheme", "always, first or never", word);
  }
  out.prepend_ = word == "first"   ? Prepend::first
                 : word == "never" ? Prepend::never
                                   : Prepend::always;
  // The key of older files.
  if (!flag(node, "add_prefix_space", true, at)) {
    if (out.prepend_ == Prepend::always && scheme != nullptr) {
      fail(at, "an add_prefix_space that agrees with prepend_scheme", "false beside always");
    }
    out.prepend_ = Prepend::never;
  }
  return out;
}

void Metaspace::split(std::string_view text, bool at_start,
                      const std::function<void(std::string_view, bool)>& piece) const {
  std::string marked = replaced(text, " ", sign_);
  const bool wanted = prepend_ == Prepend::always || (prepend_ == Prepend::first && at_start);
  if (wanted && !marked.starts_with(sign_)) marked.insert(0, sign_);
  const std::string_view all = marked;
  if (!cut_) return piece(all, at_start);
  // Each sign begins a piece; one that another sign follows is alone.
  for (size_t begin = 0; begin < all.size();) {
    const size_t search = all.substr(begin).starts_with(sign_) ? begin + sign_.size() : begin;
    const size_t end = std::min(all.find(sign_, search), all.size());
    piece(all.substr(begin, end - begin), at_start && begin == 0);
    begin = end;
  }
}

}  // namespace scute

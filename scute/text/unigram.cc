#include "scute/text/unigram.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/text/json_member.h"
#include "scute/text/utf8.h"

namespace scute {
namespace {

/// What an unknown character costs more than the least likely piece.
constexpr double kUnknownPenalty = 10.0;
/// A piece of 100,000 letters and a text of a million would take a day; published pieces have up to
/// 93 bytes.
constexpr size_t kWalkPerByte = 200;

uint64_t child_key(uint32_t node, char byte) {
  return (uint64_t{node} << 8) | static_cast<unsigned char>(byte);
}

}  // namespace

Unigram Unigram::parse(const Json& model, std::string_view where) {
  Unigram out{std::string(where)};
  const std::string at = out.where_ + ": model";
  size_t index = 0;
  for (const Json& entry : model.at("vocab", at).as_array(at + ".vocab")) {
    const std::string here = fmt::format("{}.vocab[{}]", at, index++);
    const auto& pair = entry.as_array(here);
    if (pair.size() != 2) fail(here, "a piece and its score", entry.dump());
    out.add(pair[0].as_string(here), pair[1].as_double(here), here);
  }
  const double least = out.scores_.empty() ? 0 : *std::ranges::min_element(out.scores_);
  out.unknown_score_ = least - kUnknownPenalty;
  if (const Json* unknown = present(model, "unk_id")) {
    const int64_t id = unknown->as_int(at + ".unk_id");
    if (id < 0 || id >= out.vocabulary_.size()) {
      fail(at + ".unk_id", fmt::format("a place in vocab, 0 to {}", out.vocabulary_.size() - 1),
           unknown->dump());
    }
    out.unknown_ = static_cast<int32_t>(id);
  }
  out.fallback_ids_.fill(-1);
  if (flag(model, "byte_fallback", false, at)) out.fallback_ids_ = out.vocabulary_.fallback_ids();
  return out;
}

void Unigram::add(const std::string& piece, double score, const std::string& at) {
  const auto id = narrow<int32_t>(scores_.size(), at);
  vocabulary_.add(piece, id);
  scores_.push_back(score);
  uint32_t node = 0;
  for (const char byte : piece) {
    const auto next = narrow<uint32_t>(piece_at_.size(), at);
    const auto [child, is_new] = children_.emplace(child_key(node, byte), next);
    if (is_new) piece_at_.push_back(-1);
    node = child->second;
  }
  piece_at_[node] = id;
}

int32_t Unigram::unknown() const {
  if (!unknown_) {
    fail(where_, "an unk_id for text that is in no piece of the vocabulary", "none");
  }
  return *unknown_;
}

void Unigram::refuse_long_pieces() const {
  fail(where_ + ": model.vocab",
       fmt::format("pieces that take at most {} steps a byte of a text", kWalkPerByte),
       "a long one that the text is full of beginnings of");
}

std::vector<Unigram::Step> Unigram::best_steps(std::string_view word) const {
  std::vector<Step> steps(word.size() + 1);
  size_t left = kWalkPerByte * (word.size() + kWalkPerByte);
  const auto offer = [&](size_t from, size_t to, double score, auto id) {
    if (steps[to].from >= 0 && score <= steps[to].score) return;
    steps[to] = {score, static_cast<int64_t>(from), id()};
  };
  for (size_t from = 0; from < word.size();) {
    const double score = steps[from].score;
    const size_t character = read_code_point(word, from).bytes;
    bool known = false;
    uint32_t node = 0;
    for (size_t to = from + 1; to <= word.size(); ++to) {
      const auto child = children_.find(child_key(node, word[to - 1]));
      if (child == children_.end()) break;
      if (left-- == 0) refuse_long_pieces();
      node = child->second;
      const int32_t id = piece_at_[node];
      if (id < 0) continue;
      offer(from, to, scores_[static_cast<size_t>(id)] + score, [id] { return id; });
      known = known || to == from + character;
    }
    if (!known) {
      offer(from, from + character, unknown_score_ + score, [this] { return unknown(); });
    }
    from += character;
  }
  return steps;
}

/// Of a piece, or of a stretch that is none.
void Unigram::append_ids(std::string_view piece, std::vector<int32_t>& ids) const {
  if (const auto id = vocabulary_.id_of(std::string(piece))) {
    ids.push_back(*id);
    return;
  }
  const auto id_of_byte = [this](char c) { return fallback_ids_[static_cast<unsigned char>(c)]; };
  if (std::ranges::any_of(piece, [&](char c) { return id_of_byte(c) < 0; })) {
    ids.push_back(unknown());
    return;
  }
  for (const char c : piece) ids.push_back(id_of_byte(c));
}

void Unigram::encode(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
  if (word.empty() || cache.find(word, ids)) return;
  const size_t before = ids.size();
  const std::vector<Step> steps = best_steps(word);
  std::vector<std::string_view> pieces;  // from the last to the first
  size_t unknown_end = 0;                // of a stretch of unknown characters; 0: none
  size_t end = word.size();
  const auto add = [&](size_t from, size_t to) { pieces.push_back(word.substr(from, to - from)); };
  while (end > 0) {
    const Step& step = steps[end];
    const auto from = static_cast<size_t>(step.from);
    if (step.id == unknown_) {
      if (unknown_end == 0) unknown_end = end;
    } else {
      if (unknown_end != 0) add(end, std::exchange(unknown_end, 0));
      add(from, end);
    }
    end = from;
  }
  if (unknown_end != 0) add(0, unknown_end);
  for (auto piece = pieces.rbegin(); piece != pieces.rend(); ++piece) append_ids(*piece, ids);
  cache.add(word, ids, before);
}

}  // namespace scute

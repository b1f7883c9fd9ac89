// JSON, and texts with a JSON value in each line.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <iterator>
#include <limits>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "tests/fuzz/structured.h"

namespace scute::fuzz {
namespace {

/// One mutation of a tree, which is copied but for one of its values.
class JsonMutation {
 public:
  JsonMutation(const Json& root, Draw& draw, size_t most) : draw_(draw), most_(most) {
    note(root);
    // Leaves are many; what holds them is changed as often.
    target_ = draw_.one_in(3) && !containers_.empty() ? draw_.of(containers_) : draw_.of(values_);
  }

  Json of(const Json& node) {
    if (&node == target_) return changed(node);
    if (node.is_array()) {
      Json::Array out;
      for (const Json& item : node.as_array("")) out.push_back(of(item));
      return Json(std::move(out));
    }
    if (!node.is_object()) return node;
    Json::Object out;
    for (const auto& [key, value] : node.as_object("")) out.emplace_back(key, of(value));
    return Json(std::move(out));
  }

 private:
  void note(const Json& node) {
    values_.push_back(&node);
    if (node.is_array() || node.is_object()) containers_.push_back(&node);
    if (node.is_array()) {
      for (const Json& item : node.as_array("")) note(item);
    } else if (node.is_object()) {
      for (const auto& [key, value] : node.as_object("")) {
        keys_.push_back(&key);
        note(value);
      }
    }
  }

  Json any_value() {
    if (draw_.one_in(2)) return *draw_.of(values_);
    const double kReals[] = {
        0.5, -0.0, 1e308, -1e-320, 99.99, 1e19, std::numeric_limits<double>::infinity()};
    const int64_t kIntegers[] = {0,
                                 1,
                                 -1,
                                 2,
                                 3,
                                 7,
                                 8,
                                 16,
                                 255,
                                 1 << 16,
                                 int64_t{1} << 31,
                                 int64_t{1} << 53,
                                 std::numeric_limits<int64_t>::max(),
                                 std::numeric_limits<int64_t>::min()};
    switch (draw_.below(8)) {
      case 0:
        return Json();
      case 1:
        return Json(draw_.one_in(2));
      case 2:
        return Json("");
      case 3:
        return Json::array();
      case 4:
        return Json::object();
      case 5:
        return Json(draw_.of(kReals));
      default:
        return Json(draw_.of(kIntegers));
    }
  }
  std::string any_key() {
    if (keys_.empty() || draw_.one_in(6)) return mutated_bytes("key", draw_, 12);
    return draw_.one_in(6) ? mutated_bytes(*draw_.of(keys_), draw_, 64) : *draw_.of(keys_);
  }

  Json changed(const Json& node) {
    switch (draw_.below(8)) {
      case 0:
      case 1:
        return any_value();
      case 2: {
        if (draw_.one_in(2)) return Json(Json::Array{node});
        return Json(Json::Object{{any_key(), node}});
      }
      default:
        break;
    }
    if (node.is_string()) return Json(string_near(node.as_string("")));
    if (node.is_array()) return array_near(node.as_array(""));
    if (node.is_object()) return object_near(node.as_object(""));
    return node.is_number() ? number_near(node) : any_value();
  }

  std::string string_near(const std::string& text) {
    const bool nested = text.starts_with('{') || text.starts_with('[');
    if (nested && !draw_.one_in(4)) return mutated_json(text, draw_, most_);
    return mutated_bytes(text, draw_, std::min(most_, text.size() + 16));
  }
  Json number_near(const Json& node) {
    const double factors[] = {-1, 0.5, 2, 10, 1 + 1e-15};
    if (!node.is_int()) return Json(node.as_double("") * draw_.of(factors));
    const auto value = static_cast<uint64_t>(node.as_int(""));
    const auto step = draw_.one_in(2) ? uint64_t{1} : uint64_t{1} << draw_.below(64);
    const uint64_t near[] = {value + step, value - step, value * 2, value / 2, 0 - value};
    return Json(static_cast<int64_t>(draw_.of(near)));
  }
  Json array_near(Json::Array items) {
    const auto at =
        std::next(items.begin(), static_cast<std::ptrdiff_t>(draw_.below(items.size())));
    switch (draw_.below(5)) {
      case 0:
        if (!items.empty()) items.erase(at);
        break;
      case 1:
        if (!items.empty()) std::iter_swap(at, items.begin());
        break;
      case 2:
        items.resize(draw_.below(items.size() + 1));
        break;
      case 3: {
        const size_t repeats = draw_.below(10);
        const Json value = items.empty() ? any_value() : *at;
        for (size_t i = 0; i < repeats; ++i) items.push_back(value);
        break;
      }
      default:
        items.push_back(any_value());
    }
    return Json(std::move(items));
  }
  Json object_near(Json::Object members) {
    const size_t at = draw_.below(members.size());
    switch (draw_.below(4)) {
      case 0:
        if (!members.empty()) members.erase(members.begin() + static_cast<std::ptrdiff_t>(at));
        break;
      case 1:
        if (!members.empty()) members[at].first = any_key();
        break;
      case 2:
        if (!members.empty()) members[at].second = any_value();
        break;
      default:
        members.emplace_back(any_key(), any_value());
    }
    return Json(std::move(members));
  }

  Draw& draw_;
  size_t most_;
  std::vector<const Json*> values_, containers_;
  std::vector<const std::string*> keys_;
  const Json* target_;
};

std::string joined_lines(const std::vector<std::string>& lines) {
  std::string out;
  for (const std::string& line : lines) out += line + "\n";
  return out;
}

}  // namespace

std::string mutated_json(std::string_view text, Draw& draw, size_t most) {
  try {
    Json json = Json::parse(text, "");
    for (size_t times = 1 + draw.below(3); times > 0; --times) {
      json = JsonMutation(json, draw, most).of(json);
    }
    return json.dump_config(-1);
  } catch (const Error&) {
    return mutated_bytes(text, draw, most);
  }
}

std::string mutated_json_lines(std::string_view text, Draw& draw, size_t most) {
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  if (lines.empty()) return mutated_bytes(text, draw, most);
  std::string& line = lines[draw.below(lines.size())];
  switch (draw.below(12)) {
    case 0:
      line.clear();
      break;
    case 1:
      std::swap(line, lines.front());
      break;
    case 2:
      line.resize(draw.below(line.size() + 1));
      break;
    case 3:
      lines.push_back(line);
      break;
    case 4:
      line = mutated_bytes(line, draw, most);
      break;
    default:
      line = mutated_json(line, draw, most);
  }
  return joined_lines(lines);
}

}  // namespace scute::fuzz

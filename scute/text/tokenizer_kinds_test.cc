// The kinds of tokenizer.json that model families publish: ids and texts are those of the Hugging
// Face library (scripts/make_tokenizers.py asked it).
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "scute/base/json.h"
#include "scute/text/tokenizer.h"
#include "scute/text/utf8.h"

namespace scute::tokenizer_kinds_test {
namespace {

std::string read_all(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<int32_t> ids_in(const Json& list) {
  std::vector<int32_t> out;
  for (const Json& id : list.as_array("")) out.push_back(static_cast<int32_t>(id.as_int("")));
  return out;
}

std::string printed(const std::vector<int32_t>& ids) {
  std::string out;
  for (const int32_t id : ids) out += std::to_string(id) + " ";
  return out;
}

/// One kind of a file: how many of its texts have other ids or become another text.
class KindOfTokenizer {
 public:
  KindOfTokenizer(const std::string& name, const Json& kind, const Json& file) : name_(name) {
    Json root = kind.at("tokenizer", name);
    const int64_t model = kind.at("model", name).as_int(name);
    root["model"] = file.at("models", name).as_array(name)[static_cast<size_t>(model)];
    Tokenizer tokenizer = Tokenizer::parse(root.dump(), name);
    compare_decoded(tokenizer, kind, file);
    compare(tokenizer, kind, file, "plain");
    tokenizer.use_special_tokens(true);
    compare(tokenizer, kind, file, "special");
  }
  int64_t compared() const { return compared_; }

 private:
  void compare(const Tokenizer& tokenizer, const Json& kind, const Json& file, const char* mode) {
    int64_t wrong = 0;
    const auto& texts = file.at("texts", name_).as_array(name_);
    const auto& expected = kind.at(mode, name_).as_array(name_);
    for (size_t i = 0; i < expected.size(); ++i) {
      const std::string& text = texts[i].as_string(name_);
      const std::vector<int32_t> ids = tokenizer.encode(text);
      ++compared_;
      if (ids == ids_in(expected[i])) continue;
      if (++wrong > kShown) continue;
      ADD_FAILURE() << name_ << ", " << mode << ", text " << i << ": " << texts[i].dump()
                    << "\n  expected " << printed(ids_in(expected[i])) << "\n  found    "
                    << printed(ids);
    }
    EXPECT_EQ(wrong, 0) << name_ << ", " << mode << ", of " << expected.size();
  }

  void compare_decoded(const Tokenizer& tokenizer, const Json& kind, const Json& file) {
    int64_t wrong = 0;
    const auto& texts = file.at("texts", name_).as_array(name_);
    const auto& expected = kind.at("decoded", name_).as_array(name_);
    const auto& plain = kind.at("plain", name_).as_array(name_);
    for (size_t i = 0; i < expected.size(); ++i) {
      std::string storage;
      const std::string text = tokenizer.decode(ids_in(plain[i]));
      // Where the same text came back, null stands for it.
      const Json& wanted = expected[i].is_null() ? texts[i] : expected[i];
      if (with_valid_utf8(text, storage) == wanted.as_string(name_)) continue;
      if (++wrong > kShown) continue;
      ADD_FAILURE() << name_ << ", text " << i << ": " << texts[i].dump() << "\n  expected "
                    << wanted.dump() << "\n  found    " << Json(text).dump();
    }
    EXPECT_EQ(wrong, 0) << name_ << ", decoded, of " << expected.size();
  }

  static constexpr int64_t kShown = 3;
  std::string name_;
  int64_t compared_ = 0;
};

int64_t compare_file(const std::filesystem::path& path) {
  int64_t compared = 0;
  const Json file = Json::parse(read_all(path), path.string());
  for (const auto& [name, kind] : file.at("kinds", "").as_object("")) {
    compared += KindOfTokenizer(name, kind, file).compared();
  }
  return compared;
}

TEST(TokenizerKinds, FixedTextsHaveTheIdsOfTheLibrary) {
  EXPECT_EQ(compare_file("tests/golden/tokenizers.json"), 46 * (25 + 4));
}

TEST(TokenizerKinds, RandomTextsHaveTheIdsOfTheLibrary) {
  const std::filesystem::path folder = "build/tokenizers";
  if (!std::filesystem::exists(folder)) {
    GTEST_SKIP() << "SKIPPED: no " << folder.string() << " (test.sh --all makes it)";
  }
  int64_t files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    EXPECT_GE(compare_file(entry.path()), 10000) << entry.path();
    ++files;
  }
  EXPECT_EQ(files, 46);
}

}  // namespace
}  // namespace scute::tokenizer_kinds_test

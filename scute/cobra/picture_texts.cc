#include "scute/cobra/picture_texts.h"

#include <fmt/format.h>

#include <filesystem>
#include <optional>

#include "scute/base/error.h"
#include "scute/base/random.h"
#include "scute/cobra/generate.h"
#include "scute/data/documents.h"

namespace scute {
namespace {

std::vector<std::vector<int32_t>> random_rows(int64_t rows, const TextOptions& options,
                                              int64_t vocabulary) {
  Random random(options.seed);
  std::vector<std::vector<int32_t>> out(static_cast<size_t>(rows));
  for (auto& row : out) {
    for (int64_t i = 0; i < options.length; ++i) {
      row.push_back(static_cast<int32_t>(random.below(static_cast<uint64_t>(vocabulary))));
    }
  }
  return out;
}

std::vector<std::vector<int32_t>> file_rows(const CobraDescription& model,
                                            const TextOptions& options, BadLines& bad) {
  std::optional<Tokenizer> tokenizer;
  std::vector<std::vector<int32_t>> out;
  for (const Document& document : read_documents({options.prompts}, options.input, &bad)) {
    const std::string where = fmt::format("{}: row {}", options.prompts, document.number);
    std::vector<int32_t> ids;
    if (document.ids) {
      ids = *document.ids;
    } else {
      if (!tokenizer) tokenizer = load_tokenizer(model.language, options.input);
      if (!tokenizer) fail(where, "a tokenizer (llm/tokenizer.json or --tokenizer)", "none");
      ids = cobra_prompt(model, *tokenizer, document.text).ids;
    }
    if (ids.empty()) fail(where, "at least one token", "none");
    for (size_t at = 0; at < ids.size(); ++at) {
      if (ids[at] < 0 || ids[at] >= model.config.language.vocabulary) {
        fail(where, fmt::format("ids from 0 to {}", model.config.language.vocabulary - 1),
             fmt::format("{} at {}", ids[at], at));
      }
    }
    out.push_back(std::move(ids));
  }
  return out;
}

}  // namespace

PictureTexts::PictureTexts(const CobraDescription& model, const TextOptions& options,
                           int64_t pictures) {
  origin_ = Json::object();
  if (!options.prompts.empty()) {
    rows_ = file_rows(model, options, bad_lines_);
    if (rows_.size() != 1 && std::ssize(rows_) < pictures) {
      fail(options.prompts,
           fmt::format("one row for all pictures, or a row for each of the {}", pictures),
           fmt::format("{} rows", rows_.size()));
    }
    origin_["source"] = "file";
    origin_["file"] = std::filesystem::path(options.prompts).filename().string();
    origin_["sha256"] = options.input.files->sha256(options.prompts);
    origin_["rows"] = std::ssize(rows_);
    if (options.input.special_tokens) origin_["special_tokens"] = true;
    if (bad_lines_.count > 0) origin_["bad_lines"] = bad_lines_.count;
  } else if (options.random) {
    if (options.length < 1) fail("text length", "at least 1", fmt::format("{}", options.length));
    const int64_t vocabulary = model.language.vocabulary_unpadded;
    rows_ = random_rows(pictures, options, vocabulary);
    origin_["source"] = "random";
    origin_["length"] = options.length;
    origin_["seed"] = static_cast<int64_t>(options.seed);
    origin_["vocabulary"] = vocabulary;
  } else {
    origin_["source"] = "none";
  }
}

}  // namespace scute

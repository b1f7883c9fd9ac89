#include "scute/language/calibration.h"

#include <algorithm>
#include <array>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/io/file.h"

namespace scute {
namespace {

Json data_files(const std::vector<std::string>& paths, const TextInput& input) {
  Json out = Json::array();
  for (const std::string& path : paths) {
    Json file;
    file["file"] = std::filesystem::path(path).filename().string();
    file["sha256"] = input.files->sha256(path);
    out.push_back(std::move(file));
  }
  return out;
}

/// [document, first token, tokens] of each window, in ascending order.
Json window_list(const std::vector<Window>& windows) {
  std::vector<std::array<int64_t, 3>> rows;
  for (const Window& window : windows) {
    rows.push_back({window.document, window.start, static_cast<int64_t>(window.ids.size())});
  }
  std::ranges::sort(rows);
  Json out = Json::array();
  for (const auto& row : rows) out.push_back(Json::Array{row[0], row[1], row[2]});
  return out;
}

}  // namespace

Windows calibration_windows(const ModelDescription& model, const std::vector<std::string>& files,
                            const WindowOptions& options, const TextInput& input,
                            const Threads& threads, const std::atomic<bool>* cancelled) {
  BadLines bad;
  const std::vector<Document> documents = read_documents(files, input, &bad);
  const bool needs_tokenizer =
      std::ranges::any_of(documents, [](const Document& d) { return !d.ids.has_value(); });
  std::optional<Tokenizer> tokenizer;
  if (needs_tokenizer) {
    tokenizer = load_tokenizer(model, input);
    if (!tokenizer) {
      fail(model.path, "a tokenizer.json (or --tokenizer FILE, or data with token ids)", "none");
    }
  }
  if (input.special_tokens && !needs_tokenizer) {
    fail("--special-tokens on", "a text to put them around", "token ids alone");
  }
  Windows out = cut_windows(documents, tokenizer ? &*tokenizer : nullptr, options,
                            model.config.vocabulary, threads, cancelled);
  out.bad_lines = std::move(bad);
  return out;
}

void record_input(const TextInput& input, const BadLines& bad, Json& meta) {
  if (input.special_tokens) meta["special_tokens"] = true;
  if (bad.count > 0) meta["bad_lines"] = bad.count;
}

Json data_json(const std::vector<std::string>& files, const Windows& windows,
               const TextInput& input) {
  Json out;
  out["files"] = data_files(files, input);
  out["windows"] = window_list(windows.windows);
  return out;
}

bool calibrated_on(const ModelDescription& model, const std::string& sha256) {
  const auto path = (std::filesystem::path(model.path) / "recipe.json").string();
  if (!model.low_bit || !std::filesystem::exists(path)) return false;
  constexpr int64_t kLimit = int64_t{1} << 28;
  // Every hash of a data file in a recipe stands there as text, and nothing else has its value.
  return read_text(path, kLimit).find(sha256) != std::string::npos;
}

}  // namespace scute

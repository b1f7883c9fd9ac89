// Writes a model folder of a published size with random weights, layer by layer, so that collect
// and quantize can be measured on sizes that memory does not hold:
//   random_folder granite-4.0-h-tiny granite
//   random_folder part.json part             (any config.json, e.g. of fewer layers)
#include <fmt/format.h>

#include <algorithm>
#include <exception>
#include <filesystem>
#include <string>
#include <vector>

#include "scute/base/error.h"
#include "scute/base/json.h"
#include "scute/io/file.h"
#include "scute/io/output.h"
#include "scute/io/safetensors.h"
#include "scute/language/model_folder.h"
#include "scute/language/published_configs.h"
#include "scute/language/random_model.h"

namespace scute {
namespace {

constexpr uint64_t kSeed = 42;  // that of `bench --random`

/// Tensors in files of a layer each, and the index that names them.
class Shards {
 public:
  explicit Shards(std::string folder) : folder_(std::move(folder)) {}

  void add(const std::string& name, Tensor tensor) {
    // "backbone.layers.3", or the whole name of what is in no layer
    const std::string group = name.substr(0, name.find('.', sizeof("backbone.layers.") - 1));
    if (group != group_) flush();
    group_ = group;
    tensors_.push_back({name, std::move(tensor)});
  }
  void finish() {
    flush();
    Json index = Json::object();
    index["metadata"] = Json::object();
    index["weight_map"] = std::move(map_);
    write_file(folder_ + "/model.safetensors.index.json", index.dump());
  }

 private:
  void flush() {
    if (tensors_.empty()) return;
    const std::string file = fmt::format("model-{:05}.safetensors", ++count_);
    write_safetensors(folder_ + "/" + file, tensors_, {});
    for (const NamedTensor& one : tensors_) map_[one.name] = file;
    tensors_.clear();
  }

  std::string folder_, group_;
  std::vector<NamedTensor> tensors_;
  Json map_ = Json::object();
  int count_ = 0;
};

/// What config.json shall hold: that of a published size, or what a file of that name says.
std::string config_of(const std::string& what) {
  if (what.ends_with(".json")) return read_text(what, int64_t{1} << 20);
  const auto all = published_configs();
  const auto found = std::ranges::find(all, what, &PublishedConfig::name);
  if (found == all.end()) fail("random_folder", "a size of published_configs.cc", what);
  return found->json;
}

void run(const std::string& what, const std::string& folder) {
  const std::string json = config_of(what);
  const MambaConfig config = describe_config(Json::parse(json, what), what).config;
  if (std::filesystem::exists(folder)) fail(folder, "a folder that is not there yet", "one");
  std::filesystem::create_directories(folder);
  Shards shards(folder);
  make_random_weights(config, kSeed, [&](const std::string& name, Tensor tensor) {
    shards.add(name, std::move(tensor));
  });
  shards.finish();
  write_file(folder + "/config.json", json);
}

}  // namespace
}  // namespace scute

int main(int count, char** words) {
  if (count != 3) {
    fmt::print(stderr, "random_folder SIZE|CONFIG.json FOLDER\n");
    return 2;
  }
  try {
    scute::run(words[1], words[2]);
  } catch (const std::exception& error) {
    fmt::print(stderr, "{}\n", error.what());
    return 1;
  }
}

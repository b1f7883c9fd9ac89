#include "scute/regressor/export/export.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>

#include "scute/base/error.h"
#include "scute/base/hash.h"
#include "scute/io/file.h"
#include "scute/io/seal.h"
#include "scute/models/regressor/integer_steps.h"
#include "scute/recipe/folder_writer.h"
#include "scute/regressor/export/header_c.h"
#include "scute/regressor/export/manifest.h"
#include "scute/regressor/export/mem.h"
#include "scute/regressor/export/steps.h"
#include "scute/regressor/export/vectors.h"

namespace scute {
namespace {

constexpr int kLane = 16, kWide = 64;

/// "blocks.0.norm:input" as a file's name.
std::string file_name(std::string site) {
  std::ranges::replace(site, ':', '.');
  return site;
}

class Files {
 public:
  void add(std::string name, std::string text, Json about = Json::object()) {
    files_.push_back({std::move(name), std::move(text), std::move(about)});
  }
  /// `what`: "weight", "bias", …; shape: of the codes without what fills lines.
  void add_memory(const std::string& name, std::string text, std::initializer_list<int64_t> shape,
                  int lane_bits, const Json& format) {
    Json about;
    for (const int64_t n : shape) about["shape"].push_back(n);
    about["lane_bits"] = lane_bits;
    about["format"] = format;
    add(name, std::move(text), std::move(about));
  }

  void add_product(const ShiftProduct& product) {
    const int64_t outputs = product.weight.dim(0);
    add_memory("weights/" + product.name + ".weight.mem",
               mem_text(product.weight.matrix<int16_t>()), {outputs, product.weight.dim(1)}, kLane,
               format_json(product.weights));
    if (product.bias.empty()) return;
    add_memory("weights/" + product.name + ".bias.mem",
               mem_text(std::span<const int16_t>(product.bias)), {outputs}, kLane,
               format_json(product.biases));
  }
  void add_norm(const ShiftNorm& norm) {
    add_memory("weights/" + norm.name + ".gain.mem", mem_text(norm.gain), {std::ssize(norm.gain)},
               kWide, Json());
  }
  void add_convolution(const ShiftConvolution& conv) {
    if (conv.taps == 0) return;
    const int64_t channels = std::ssize(conv.bias);
    add_memory("weights/" + conv.name + ".weight.mem",
               mem_text(MatView<const int16_t>(conv.weight.data(), conv.taps, channels)),
               {conv.taps, channels}, kLane, format_json(conv.weights));
    add_memory("weights/" + conv.name + ".bias.mem", mem_text(std::span<const int16_t>(conv.bias)),
               {channels}, kLane, format_json(conv.biases));
  }

  void add_weights(const ShiftRegressor& model) {
    add_product(model.proj);
    add_product(model.patch_embedding);
    if (!model.position_table.empty()) {
      const int64_t L = model.config.patches(), D = model.config.width;
      add_memory("weights/position_table.mem",
                 mem_text(MatView<const int16_t>(model.position_table.data(), L, D)), {L, D}, kLane,
                 format_json(model.residual));
    }
    for (const ShiftBlock& block : model.blocks) {
      add_norm(block.norm);
      add_product(block.in_proj);
      add_convolution(block.convolution);
      add_product(block.dt_proj);
      add_product(block.out_proj);
    }
    add_norm(model.norm_f);
    add_product(model.output_layer);
    add_product(model.head);
  }

  void add_tables() {
    const std::span<const uint16_t> sigmoid(sigmoid_table());
    const Json q016 = format_json({17, 16});  // unsigned: as 17 bits with a sign
    add_memory("tables/sigmoid_q016.mem", mem_text(sigmoid), {std::ssize(sigmoid)}, kLane, q016);
    // x Q8.8 from −1024 to 1023, address x + 1024: what the RTL of this field holds.
    const auto short_table = sigmoid.subspan(1024, 2048);
    add_memory("tables/sigmoid_q016_2048.hex", hex_text(short_table), {2048}, kLane, q016);
    std::vector<int16_t> silu;
    for (int x = -2048; x <= 2048; ++x) silu.push_back(static_cast<int16_t>(x));
    const MatView<int16_t> row(silu.data(), 1, std::ssize(silu));
    fixed_silu(row, 8, 0x1p-16, row);
    add_memory("tables/silu.mem", mem_text(std::span<const int16_t>(silu)), {std::ssize(silu)},
               kLane, format_json({16, 8}));
  }

  void add_vectors(const std::vector<SiteVectors>& vectors) {
    for (const SiteVectors& one : vectors) {
      add_memory("vectors/" + file_name(one.site) + ".mem",
                 mem_text(MatView<const int16_t>(one.codes.data(), one.rows(), one.columns)),
                 {one.rows(), one.columns}, kLane, format_json(one.format));
    }
  }

  std::vector<ExportedFile> take() { return std::move(files_); }

 private:
  std::vector<ExportedFile> files_;
};

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 3> kFolders{"weights", "tables", "vectors"};
constexpr std::string_view kManifest = "manifest.json", kHeader = "scute_regressor.h";

/// Error unless the folder is a former export and holds nothing else.
void check_former_export(const std::string& path) {
  const auto refuse = [&](const std::string& found) {
    fail(path, "a former export, to replace it", found + "; move it, or choose another folder");
  };
  if (fs::is_symlink(path) || !fs::is_directory(path)) refuse("another file");
  if (fs::is_empty(path)) return;
  const std::string manifest = (fs::path(path) / kManifest).string();
  if (!fs::is_regular_file(manifest)) refuse("a folder without " + std::string(kManifest));
  const Json* format = nullptr;
  const Json json = Json::parse(read_text(manifest, 1 << 26), manifest);
  format = json.find("format");
  if (format == nullptr || *format != Json(kExportFormat)) refuse("another manifest.json");
  for (const auto& entry : fs::recursive_directory_iterator(path)) {
    const fs::path inner = entry.path().lexically_relative(path);
    const std::string top = inner.begin()->string(), extension = inner.extension().string();
    const bool folder = std::ranges::find(kFolders, top) != kFolders.end();
    const bool memory = extension == ".mem" || extension == ".hex";
    const bool known =
        folder
            ? (entry.is_directory() && inner == top) || (entry.is_regular_file() && memory)
            : entry.is_regular_file() && (top == kManifest || top == kHeader || top == kSealsFile);
    if (entry.is_symlink() || !known) refuse(inner.string() + " in it");
  }
}

}  // namespace

RegressorExport make_regressor_export(const RegressorCheckpoint& checkpoint,
                                      const RegressorFormats& formats, const Tensor& windows,
                                      const RegressorExportNotes& notes) {
  if (windows.rank() != 3 || windows.dim(0) < 1) {
    fail("test vectors", "at least one window", to_string(windows.shape()));
  }
  if (checkpoint.config.variant != RegressorConfig::Variant::slim) {
    fail(checkpoint.path, "a slim model, which integers alone compute",
         "an origin model, whose scan needs floats");
  }
  const RegressorTensors tensors(checkpoint.config, checkpoint.weights);
  const IntegerRegressor model(checkpoint.config, tensors, formats);
  const ShiftRegressor shifts = as_shifts(model);
  const std::vector<SiteVectors> vectors = record_vectors(model, shifts, windows);
  const std::string name = fs::path(checkpoint.path).filename().string();
  const std::string hash = hash_checkpoint_file(checkpoint);

  Files files;
  files.add_weights(shifts);
  files.add_tables();
  files.add_vectors(vectors);
  files.add(std::string(kHeader), regressor_c_header(shifts, name + ", SHA-256 " + hash));
  RegressorExport out{files.take(), windows.dim(0), std::ssize(vectors)};
  Json manifest = manifest_json(shifts, notes, vectors, windows.dim(0));
  manifest["checkpoint"]["file"] = name;
  manifest["checkpoint"]["sha256"] = hash;
  for (const ExportedFile& file : out.files) {
    Json one;
    one["file"] = file.name;
    for (const auto& [key, value] : file.about.as_object(file.name)) one[key] = value;
    one["sha256"] = sha256(file.text);
    manifest["files"].push_back(std::move(one));
  }
  out.files.push_back({std::string(kManifest), manifest.dump(1) + "\n", Json::object()});
  return out;
}

void write_regressor_export(const RegressorExport& files, const std::string& path,
                            const std::string& checkpoint, bool replace) {
  FolderWriter folder(path,
                      {.sources = {checkpoint}, .replace = replace, .check = check_former_export});
  for (const std::string_view name : kFolders) make_folder(folder.file(std::string(name)));
  for (const ExportedFile& file : files.files) write_file(folder.file(file.name), file.text);
  folder.commit();
}

}  // namespace scute

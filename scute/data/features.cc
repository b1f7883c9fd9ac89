#include "scute/data/features.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <numeric>
#include <system_error>
#include <utility>

#include "scute/base/error.h"
#include "scute/data/feature_parts.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kStatistics = "stats_train.npz";
/// Some two million indices; a parsed one takes 40 bytes.
constexpr int64_t kLargestJson = int64_t{1} << 24;

constexpr std::array<std::pair<std::string_view, FeatureRole>, 4> kRoles = {
    {{"train", FeatureRole::train},
     {"eval", FeatureRole::eval},
     {"test", FeatureRole::test},
     {"auto", FeatureRole::automatic}}};

bool is_there(const fs::path& path) {
  std::error_code ignored;
  return fs::exists(path, ignored);
}

/// The sequences' names, in the order of their files' names.
std::vector<std::string> sequence_names(const std::string& path) {
  constexpr std::string_view kExpected =
      "a feature folder: json/NAME.json and npy/NAME.feats.npy, npy/NAME.xy.npy for each sequence";
  std::error_code problem;
  if (!fs::is_directory(path, problem)) {
    fail(path, kExpected, is_there(path) ? "a file" : "no such folder");
  }
  std::vector<std::string> files;
  fs::directory_iterator entry(fs::path(path) / "json", problem);
  if (problem) fail(path, kExpected, "json/: " + problem.message());
  for (; entry != fs::directory_iterator(); entry.increment(problem)) {
    const std::string file = entry->path().filename().string();
    // Hidden ones are other programs' notes.
    if (file.ends_with(".json") && !file.starts_with('.')) files.push_back(file);
    if (problem) break;
  }
  if (problem) fail(path, kExpected, "json/: " + problem.message());
  if (files.empty()) fail(path, kExpected, "no json/NAME.json");
  std::ranges::sort(files);
  for (std::string& file : files) file.resize(file.size() - std::string_view(".json").size());
  return files;
}

/// The folder that `path` is in, as written.
fs::path parent_of(const std::string& path) {
  fs::path folder = fs::path(path).lexically_normal();
  if (!folder.has_filename()) folder = folder.parent_path();  // it ended in a slash
  if (folder == "." || folder.filename() == "..") return folder / "..";
  return folder.has_parent_path() ? folder.parent_path() : fs::path(".");
}

FeatureNormalization read_normalization(const std::string& path, int64_t features) {
  const std::array<fs::path, 3> places = {fs::path(path) / "npy", fs::path(path), parent_of(path)};
  std::vector<std::string> looked;
  for (const fs::path& place : places) {
    const fs::path file = place / kStatistics;
    if (is_there(file)) {
      return parse_feature_statistics(read_npz(file.string()), features, file.string());
    }
    looked.push_back(file.string());
  }
  fail(path,
       fmt::format("the normalization of the training, {}; --no-normalize takes the features as "
                   "they are stored",
                   kStatistics),
       fmt::format("none of {}", fmt::join(looked, ", ")));
}

Tensor read_array(const std::string& file, std::string_view what) {
  if (!is_there(file))
    fail(file, fmt::format("the {} that the json file is about", what), "no such file");
  return read_npy(file);
}

FeatureSequence read_sequence(const std::string& path, const std::string& name,
                              std::vector<int64_t> listed, const FeatureRequest& request) {
  const std::string arrays = (fs::path(path) / "npy" / name).string();
  const std::string frames_file = arrays + ".feats.npy";
  FeatureSequence out;
  out.name = name;
  out.frames = checked_frames(read_array(frames_file, "frames"), request.features, frames_file);
  const int64_t frames = out.frames.dim(0);
  if (listed.empty() && request.role == FeatureRole::automatic && frames > request.window) {
    listed.resize(static_cast<size_t>(frames - request.window));
    std::iota(listed.begin(), listed.end(), request.window);
  }
  check_window_ends(listed, request.window, frames,
                    (fs::path(path) / "json" / (name + ".json")).string());
  out.ends = std::move(listed);
  const std::string positions_file = arrays + ".xy.npy", times_file = arrays + ".ts.npy";
  out.positions =
      checked_positions(read_array(positions_file, "positions"), frames, out.ends, positions_file);
  if (is_there(times_file)) out.times = checked_times(read_npy(times_file), frames, times_file);
  return out;
}

/// "train: 70 windows, test: 0 windows": role → windows of the sequences that have it.
std::string describe(const std::map<std::string, int64_t>& roles) {
  std::vector<std::string> parts;
  for (const auto& [role, windows] : roles) {
    parts.push_back(fmt::format("{}: {} window{}",
                                role.empty() ? "without a role" : role.substr(0, 60), windows,
                                windows == 1 ? "" : "s"));
  }
  return fmt::format("{}", fmt::join(parts, ", "));
}

void check(const FeatureRequest& request) {
  if (request.features < 1 || request.window < 1) {
    fail("feature request", "at least one feature and a window of at least one frame",
         fmt::format("{} features and {} frames", request.features, request.window));
  }
}

int64_t windows_of_its_role(const FeatureIndex& index) {
  for (const auto& [name, role] : kRoles) {
    if (index.role == name) return static_cast<int64_t>(index.listed(role).size());
  }
  return static_cast<int64_t>(index.any.size());
}

template <class Call>
void for_each_feature(Tensor& frames, int64_t features, Call call) {
  const auto rows = frames.mutable_matrix<float>();
  for (int64_t t = 0; t < rows.rows; ++t) {
    for (int64_t d = 0; d < features; ++d) call(rows.row(t)[d], static_cast<size_t>(d));
  }
}

}  // namespace

FeatureRole parse_feature_role(std::string_view text) {
  for (const auto& [name, role] : kRoles) {
    if (name == text) return role;
  }
  fail("role", "train, eval, test or auto", fmt::format("\"{}\"", text));
}

std::string_view name_of(FeatureRole role) {
  return std::ranges::find(kRoles, role, &std::pair<std::string_view, FeatureRole>::second)->first;
}

int64_t FeatureFolder::windows() const {
  int64_t count = 0;
  for (const FeatureSequence& sequence : sequences) {
    count += static_cast<int64_t>(sequence.ends.size());
  }
  return count;
}

FeatureFolder read_feature_folder(const std::string& path, const FeatureRequest& request) {
  check(request);
  FeatureFolder out{.path = path, .role = request.role, .normalization = {}, .sequences = {}};
  std::map<std::string, int64_t> roles;
  for (const std::string& name : sequence_names(path)) {
    const std::string file = (fs::path(path) / "json" / (name + ".json")).string();
    const FeatureIndex index = parse_feature_index(read_text(file, kLargestJson), file);
    roles[index.role] += windows_of_its_role(index);
    const std::vector<int64_t>& listed = index.listed(request.role);
    if (listed.empty() && request.role != FeatureRole::automatic) continue;
    FeatureSequence sequence = read_sequence(path, name, listed, request);
    if (!sequence.ends.empty()) out.sequences.push_back(std::move(sequence));
  }
  if (out.sequences.empty() && request.role == FeatureRole::automatic) {
    fail(path,
         fmt::format("a sequence of more than {} frames, the window of the model", request.window),
         "none");
  }
  if (out.sequences.empty()) {
    fail(path,
         fmt::format("windows of role {}; choose a role that has some", name_of(request.role)),
         describe(roles));
  }
  if (request.normalize) out.normalization = read_normalization(path, request.features);
  return out;
}

Tensor normalized_frames(const FeatureSequence& sequence,
                         const std::optional<FeatureNormalization>& normalization,
                         NonFinite& found) {
  const Tensor& stored = sequence.frames;
  const int64_t features = stored.dim(stored.rank() - 1);
  // Half floats widen into memory of their own; floats are those of the file.
  Tensor frames = stored.dtype() == DType::f32 ? Tensor::of(stored.shape(), stored.values<float>())
                                               : stored.to_f32();
  if (normalization) {
    const std::vector<float>& mean = normalization->mean;
    const std::vector<float>& deviation = normalization->deviation;
    if (std::cmp_not_equal(std::min(mean.size(), deviation.size()), features)) {
      fail(normalization->path, fmt::format("{} features", features),
           fmt::format("{}", mean.size()));
    }
    for_each_feature(frames, features,
                     [&](float& x, size_t d) { x = (x - mean[d]) / deviation[d]; });
  }
  constexpr float kInfinite = 1e6F;
  for_each_feature(frames, features, [&](float& x, size_t) {
    if (std::isfinite(x)) return;
    ++(std::isnan(x) ? found.nans : found.infinities);
    x = std::isnan(x) ? 0.0F : std::copysign(kInfinite, x);
  });
  return frames;
}

}  // namespace scute

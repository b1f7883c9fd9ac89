#include "scute/language/hessian_checkpoint.h"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string_view>
#include <system_error>
#include <utility>

#include "scute/base/error.h"
#include "scute/base/json_difference.h"
#include "scute/io/file.h"
#include "scute/io/posix.h"
#include "scute/io/sealed_tensors.h"
#include "scute/language/hessians.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCheckpointFormat = "scute-hessian-checkpoint";
constexpr std::string_view kTriangle = "/triangle";

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// "2/layer_0.in_proj:input/triangle": sum and site.
std::pair<int64_t, std::string> place_of(const std::string& name, const std::string& path) {
  const size_t slash = name.find('/');
  int64_t sum = -1;
  if (slash != std::string::npos && name.ends_with(kTriangle) &&
      slash < name.size() - kTriangle.size()) {
    std::from_chars(name.data(), name.data() + slash, sum);
  }
  if (sum < 0 || sum >= kHessianSums) fail(path, "tensors named SUM/SITE/triangle", name);
  return {sum, name.substr(slash + 1, name.size() - slash - 1 - kTriangle.size())};
}

/// The sum's own memory: it outlives the file that is written.
Tensor borrowed(const Gram& gram) {
  const auto* data = reinterpret_cast<const std::byte*>(gram.values.data());
  return {DType::f64,
          {static_cast<int64_t>(gram.values.size())},
          std::shared_ptr<const void>(std::shared_ptr<const void>(), data),
          data};
}

int64_t windows_in(const SafetensorsFile& file, const std::string& path) {
  const auto found = file.metadata.find("windows");
  const std::string text = found == file.metadata.end() ? "" : found->second;
  int64_t out = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  const bool whole = error == std::errc{} && end == text.data() + text.size() && out >= 0;
  if (!whole) fail(path, "a number of windows", text);
  return out;
}

/// What a file says of itself; Error when it is no checkpoint, or broken.
Json checkpoint_key(const SafetensorsFile& file, const std::string& path) {
  check_sealed_tensors(file, path);
  const auto format = file.metadata.find("format"), key = file.metadata.find("key");
  if (format == file.metadata.end() || format->second != kCheckpointFormat ||
      key == file.metadata.end()) {
    fail(path, "sums that scute quantize --checkpoint-every kept", "another file, which stays");
  }
  const auto place = file.metadata.find("place");
  if (const std::string stem = fs::path(path).stem(),
      found = place == file.metadata.end() ? "none" : place->second;
      found != stem) {
    fail(path, "the sums of " + stem, "those of " + found);
  }
  windows_in(file, path);
  return Json::parse(key->second, path);
}

}  // namespace

void write_sums(const std::string& path, const std::map<int64_t, const SiteGrams*>& sums,
                const Metadata& metadata) {
  std::vector<NamedTensor> tensors;
  for (const auto& [number, sites] : sums) {
    for (const auto& [site, gram] : *sites) {
      tensors.push_back({fmt::format("{}/{}{}", number, site, kTriangle), borrowed(gram)});
    }
  }
  write_sealed_tensors(path, tensors, metadata);
}

std::map<int64_t, std::map<std::string, Tensor>> sums_of(const SafetensorsFile& file,
                                                         const std::string& path) {
  std::map<int64_t, std::map<std::string, Tensor>> out;
  for (const NamedTensor& item : file.tensors) {
    const auto [sum, site] = place_of(item.name, path);
    out[sum].emplace(site, item.tensor);
  }
  return out;
}

Gram gram_of(const Tensor& tensor, const std::string& where) {
  int64_t size = 0;
  while (TriangleView<double>::count(size) < tensor.size()) ++size;
  if (tensor.dtype() != DType::f64 || tensor.rank() != 1 ||
      tensor.size() != TriangleView<double>::count(size)) {
    fail(where, "the triangle of a square matrix, F64", to_string(tensor.shape()));
  }
  Gram out(size);
  std::ranges::copy(tensor.values<double>(), out.values.begin());
  tensor.give_back();
  return out;
}

HessianCheckpoint::HessianCheckpoint(HessianKeeping how, Json key)
    : how_(std::move(how)), key_(std::move(key)) {
  std::error_code none;
  for (const auto& entry : fs::directory_iterator(how_.folder, none)) {
    if (entry.path().extension() != ".safetensors") continue;
    const std::string path = entry.path().string();
    // What cannot be opened now may be whole all the same: an Error, and it stays.
    const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
    if (file.get() < 0) fail_system(path, "a file that can be read", errno);
    Json found;
    try {
      found = checkpoint_key(read_safetensors(path), path);
    } catch (const Error& broken) {
      tell(fmt::format("{}; measured again", broken.what()));
      broken_.insert(path);
      continue;
    }
    if (found == key_) continue;
    if (!how_.drops_others) {
      fail(how_.folder, "Hessians kept by this command, or none (--force drops them)",
           "those of another: " + difference_text(found, key_));
    }
    fs::remove(path, none);
  }
  if (how_.begin) how_.cancelled = how_.begin();
}

std::optional<SiteGrams> HessianCheckpoint::finished(int64_t pass) {
  auto found = read(pass_file(pass));
  return found ? std::optional(std::move(found->second)) : std::nullopt;
}

std::optional<std::pair<int64_t, SiteGrams>> HessianCheckpoint::begun(int64_t pass, int64_t sum) {
  auto found = read(sum_file(pass, sum));
  const std::lock_guard lock(guard_);
  kept_[sum] = {steady_seconds(), found ? found->first : 0};
  return found;
}

void HessianCheckpoint::add(int64_t pass, int64_t sum, int64_t windows, const SiteGrams& sites,
                            int64_t together) {
  if (!how_.keeps()) return;
  const bool cancelled = how_.cancelled != nullptr && *how_.cancelled;
  const double now = steady_seconds();
  const int64_t most = how_.windows ? std::max<int64_t>(*how_.windows / together, 1)
                                    : std::numeric_limits<int64_t>::max();
  {
    const std::lock_guard lock(guard_);
    Kept& kept = kept_[sum];
    const bool due =
        windows - kept.windows >= most || (how_.seconds && now - kept.time >= *how_.seconds);
    if (!due && !cancelled) return;
    kept.time = now;
  }
  if (write(sum_file(pass, sum), windows, sites)) {
    const std::lock_guard lock(guard_);
    kept_[sum].windows = windows;
  }
  if (cancelled) fail(how_.folder, "all windows", "an interruption");
}

void HessianCheckpoint::end_sum(int64_t pass, int64_t sum, int64_t windows,
                                const SiteGrams& sites) {
  if (!how_.keeps()) return;
  {
    const std::lock_guard lock(guard_);
    if (kept_[sum].windows == windows) return;  // by add(), a moment ago
  }
  write(sum_file(pass, sum), windows, sites);
}

void HessianCheckpoint::end_pass(int64_t pass, const SiteGrams& sites) {
  if (!how_.keeps()) return;
  if (!write(pass_file(pass), 0, sites)) return;
  std::error_code none;
  for (int64_t sum = 0; sum < kHessianSums; ++sum) fs::remove(sum_file(pass, sum), none);
}

std::string HessianCheckpoint::sum_file(int64_t pass, int64_t sum) const {
  return (fs::path(how_.folder) / fmt::format("sum-{}-{}.safetensors", pass, sum)).string();
}

std::string HessianCheckpoint::pass_file(int64_t pass) const {
  return (fs::path(how_.folder) / fmt::format("pass-{}.safetensors", pass)).string();
}

bool HessianCheckpoint::write(const std::string& file, int64_t windows, const SiteGrams& sites) {
  try {
    make_folder(how_.folder);
    write_sums(file, {{0, &sites}},
               {{"format", kCheckpointFormat},
                {"version", "1"},
                {"place", fs::path(file).stem()},  // which pass and sum, whatever it is renamed to
                {"windows", std::to_string(windows)},
                {"key", key_.dump()}});
    return true;
  } catch (const Error& error) {
    std::error_code holds_others;
    fs::remove(how_.folder, holds_others);  // when nothing is in it
    tell(fmt::format("not kept: {}", error.what()));
    return false;
  }
}

std::optional<std::pair<int64_t, SiteGrams>> HessianCheckpoint::read(const std::string& path) {
  std::error_code none;
  if (broken_.contains(path) || !fs::exists(path, none)) return std::nullopt;
  const SafetensorsFile file = read_safetensors(path);  // checked when this was made
  std::pair<int64_t, SiteGrams> out;
  out.first = windows_in(file, path);
  for (const auto& [sum, sites] : sums_of(file, path)) {
    for (const auto& [site, tensor] : sites) out.second.emplace(site, gram_of(tensor, path));
  }
  return out;
}

void HessianCheckpoint::tell(const std::string& problem) {
  const std::lock_guard lock(guard_);
  if (how_.problem) how_.problem(problem);
}

}  // namespace scute

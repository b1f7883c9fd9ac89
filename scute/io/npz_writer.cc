#include <fmt/format.h>
#include <zip.h>

#include <memory>
#include <set>
#include <utility>

#include "scute/base/checked.h"
#include "scute/base/error.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/npy_types.h"

namespace scute {
namespace {

/// The data begins at a multiple of this, as NumPy writes it.
constexpr size_t kAlignment = 64;

/// Everything before the elements.
std::string header_bytes(const Tensor& tensor, std::string_view where) {
  std::string_view type;
  for (const auto& [name, dtype] : kNpyTypes) {
    if (dtype == tensor.dtype()) type = name;
  }
  if (type.empty()) fail(where, "an element type that NumPy has", name_of(tensor.dtype()));
  std::string dims = fmt::format("{}", fmt::join(tensor.shape(), ", "));
  if (tensor.rank() == 1) dims += ",";
  std::string text =
      fmt::format("{{'descr': '{}', 'fortran_order': False, 'shape': ({}), }}", type, dims);
  const size_t before = kNpyMagic.size() + 4;
  const size_t total = (before + text.size() + 1 + kAlignment - 1) / kAlignment * kAlignment;
  text.resize(total - before - 1, ' ');
  text += '\n';
  const auto length = narrow<uint16_t>(text.size(), where);
  std::string out(kNpyMagic);
  out.append("\x01\x00", 2);
  out.append(reinterpret_cast<const char*>(&length), sizeof(length));
  return out + text;
}

using Source = std::unique_ptr<zip_source_t, void (*)(zip_source_t*)>;

/// One deflated entry of an archive under construction, which keeps pointing at `bytes`.
void add_entry(zip_t* archive, const std::string& name, const std::string& bytes,
               const std::string& path) {
  zip_source_t* source = zip_source_buffer(archive, bytes.data(), bytes.size(), 0);
  const zip_int64_t index =
      source == nullptr ? -1
                        : zip_file_add(archive, (name + ".npy").c_str(), source, ZIP_FL_ENC_UTF_8);
  if (index < 0) {
    zip_source_free(source);
    fail(path, fmt::format("an array name, not {}", name), zip_strerror(archive));
  }
  const auto at = static_cast<zip_uint64_t>(index);
  // 1980-01-01 for every entry: equal arrays give equal bytes.
  if (zip_set_file_compression(archive, at, ZIP_CM_DEFLATE, 0) != 0 ||
      zip_file_set_dostime(archive, at, 0, 0x21, 0) != 0) {
    fail(path, "a deflated entry", zip_strerror(archive));
  }
}

/// The archive in memory: libzip's own file writing neither syncs nor reports a full disk early.
std::string deflated_archive(const std::vector<std::pair<std::string, std::string>>& entries,
                             const std::string& path) {
  if (entries.empty()) return "PK\5\6" + std::string(18, '\0');  // libzip would write no file
  const Source buffer(zip_source_buffer_create(nullptr, 0, 0, nullptr),
                      [](zip_source_t* s) { zip_source_free(s); });
  if (!buffer) fail(path, "memory for an archive", "none");
  zip_source_keep(buffer.get());  // the archive takes one reference, this function keeps one
  std::unique_ptr<zip_t, void (*)(zip_t*)> archive(
      zip_open_from_source(buffer.get(), ZIP_TRUNCATE, nullptr), [](zip_t* a) { zip_discard(a); });
  if (!archive) {
    zip_source_free(buffer.get());
    fail(path, "an archive in memory", "an error of libzip");
  }
  for (const auto& [name, bytes] : entries) add_entry(archive.get(), name, bytes, path);
  if (zip_close(archive.get()) != 0) fail(path, "an archive", zip_strerror(archive.get()));
  archive.release();  // closed
  zip_stat_t status;
  zip_stat_init(&status);
  if (zip_source_stat(buffer.get(), &status) != 0 || zip_source_open(buffer.get()) != 0) {
    fail(path, "an archive in memory", zip_error_strerror(zip_source_error(buffer.get())));
  }
  std::string out(status.size, '\0');
  const zip_int64_t count = zip_source_read(buffer.get(), out.data(), out.size());
  zip_source_close(buffer.get());
  if (std::cmp_not_equal(count, out.size())) fail(path, "an archive in memory", "half of one");
  return out;
}

}  // namespace

void write_npz(const std::string& path, const std::vector<NamedTensor>& arrays, Replace replace) {
  std::vector<std::pair<std::string, std::string>> entries;
  std::set<std::string_view> names;
  for (const NamedTensor& array : arrays) {
    if (!names.insert(array.name).second) fail(path, "array names used once", array.name);
    const auto bytes = array.tensor.bytes();
    std::string content = header_bytes(array.tensor, path);
    content.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    entries.emplace_back(array.name, std::move(content));
  }
  AtomicFile file(path, replace);
  file.write(deflated_archive(entries, path));
  file.commit();
}

}  // namespace scute

#include "scute/io/scratch_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <utility>

#include "scute/base/error.h"

namespace scute {
namespace {

Descriptor open_scratch(const std::string& folder) {
  constexpr const char* kExpected = "a writable folder for what does not fit in memory";
  int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return Descriptor(file);
  // Some file systems (NFS, overlays of old kernels) have no files without names.
  std::string name = folder + "/.scute-scratch-XXXXXX";
  file = ::mkostemp(name.data(), O_CLOEXEC);
  if (file < 0) fail_system(folder, kExpected, errno);
  ::unlink(name.c_str());
  return Descriptor(file);
}

}  // namespace

ScratchFile::ScratchFile(const std::string& folder)
    : folder_(folder), file_(open_scratch(folder)) {}

void ScratchFile::write(int64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pwrite(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system(folder_, "room on its disk for what does not fit in memory", errno);
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

void ScratchFile::read(int64_t offset, std::span<std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t count =
        ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail_system(folder_, "a readable disk", errno);
    if (count == 0) fail(folder_, "what was written to its disk", "the end of a file");
    bytes = bytes.subspan(static_cast<size_t>(count));
    offset += count;
  }
}

int64_t ScratchFile::reserve(int64_t bytes) {
  constexpr int64_t kAlignment = 64;
  const std::lock_guard lock(guard_);
  const int64_t offset = end_;
  end_ += (bytes + kAlignment - 1) / kAlignment * kAlignment;
  return offset;
}

Tensor ScratchFile::mapped(DType dtype, const Shape& shape, int64_t offset) const {
  const int64_t size = element_count(shape, folder_) * size_of(dtype);
  if (size == 0) return Tensor(dtype, shape);
  auto data = map_part(file_, folder_, offset, size);
  const std::byte* first = data.get();
  return Tensor::mapped(dtype, shape, std::move(data), first);
}

Tensor ScratchFile::put(const Tensor& tensor) {
  const int64_t offset = reserve(std::ssize(tensor.bytes()));
  write(offset, tensor.bytes());
  return mapped(tensor.dtype(), tensor.shape(), offset);
}

}  // namespace scute

#include "scute/io/scratch_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

#include "scute/base/error.h"
#include "scute/io/claim.h"

namespace scute {
namespace {

constexpr const char* kScratchFolder = "a writable folder for what does not fit in memory";

/// Some file systems (NFS, overlays of old kernels) have no files without names: a claimed one,
/// which goes with its claim at once. Whoever dies in between leaves a claim, as any writer.
Descriptor open_named(const std::string& folder, int number) {
  const Claim claim(fmt::format("{}/.scute-scratch-{}", folder, number));
  const int file = ::open(claim.payload().c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0) fail_system(folder, kScratchFolder, errno);
  return Descriptor(file);
}

Descriptor open_scratch(const std::string& folder) {
  const int file = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file >= 0) return Descriptor(file);
  constexpr int kAtOnce = 64;  // who hold a claim now, for two system calls each
  for (int number = 0; number < kAtOnce; ++number) {
    try {
      return open_named(folder, number);
    } catch (const Error&) {
      if (::access(folder.c_str(), W_OK) != 0) fail_system(folder, kScratchFolder, errno);
    }
  }
  return open_named(folder, kAtOnce);
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

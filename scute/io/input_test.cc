#include "scute/io/input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "scute/io/npy.h"
#include "scute/io/safetensors.h"
#include "scute/io/testing.h"

namespace scute {
namespace {

namespace fs = std::filesystem;

using testing::elements;
using testing::error_of;
using testing::floats;
using testing::Folder;
using ::testing::HasSubstr;
using testing::put;

char first_of(const InputFile& file, int64_t offset = 0) {
  return static_cast<char>(file.bytes(offset, 1).get()[0]);
}

TEST(InputFile, IsTheFileThatWasOpenedWhateverHasItsNameLater) {
  const Folder folder;
  put(folder / "a", "a");
  put(folder / "b", "b");
  // Sparse, and large enough to be mapped part by part.
  for (const char* name : {"large", "other"}) {
    put(folder / name, name);
    fs::resize_file(folder / name, uintmax_t{65} << 20);
  }
  const InputFile small(folder / "a"), large(folder / "large");
  fs::rename(folder / "b", folder / "a");
  fs::rename(folder / "other", folder / "large");
  EXPECT_EQ(first_of(small), 'a');
  EXPECT_EQ(first_of(large), 'l');
}

TEST(InputFile, ThatIsCutShortIsNoZeros) {
  const Folder folder;
  write_safetensors(folder / "a.safetensors", {{"x", floats({2}, {1, 2})}}, {});
  const SafetensorsFile file = read_safetensors(folder / "a.safetensors");
  fs::resize_file(folder / "a.safetensors", 8);
  EXPECT_EQ(elements<float>(file.tensors[0].tensor), (std::vector<float>{1, 2}));
  put(folder / "large", "x");
  fs::resize_file(folder / "large", uintmax_t{65} << 20);
  const InputFile large(folder / "large");
  fs::resize_file(folder / "large", uintmax_t{64} << 20);
  EXPECT_THAT(error_of([&] { first_of(large); }), HasSubstr("changed while it was read"));
}

TEST(InputFile, RefusesWhatIsNoFileAtOnce) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { const InputFile file(folder / "pipe"); }), HasSubstr("a named pipe"));
  EXPECT_THAT(error_of([&] { const InputFile file(folder.path()); }), HasSubstr("a folder"));
  EXPECT_THAT(error_of([] { const InputFile file("/dev/zero"); }), HasSubstr("a device"));
  put(folder / "a", "abc");
  EXPECT_THAT(error_of([&] { const auto beyond = InputFile(folder / "a").bytes(2, 2); }),
              HasSubstr("3 bytes"));
}

TEST(InputStamps, TellWhatChanged) {
  const Folder folder;
  fs::create_directories(folder / "model/part");
  put(folder / "model/a", "a");
  put(folder / "model/part/b", "b");
  put(folder / "data", "d");
  const auto stamps = [&] {
    return InputStamps({folder / "model", folder / "data", "", folder / "none"});
  };
  const auto problem_after = [&](const std::function<void()>& change) {
    const InputStamps before = stamps();
    change();
    return error_of([&] { before.check(); });
  };
  EXPECT_EQ(problem_after([&] { put(folder / "model/log.jsonl", "new"); }), "");
  EXPECT_EQ(problem_after([&] { put(folder / "model/log.jsonl", "longer"); }), "");
  EXPECT_THAT(problem_after([&] { put(folder / "data", "other"); }), HasSubstr("data: "));
  EXPECT_THAT(problem_after([&] { fs::resize_file(folder / "model/part/b", 0); }),
              HasSubstr("part/b"));
  EXPECT_THAT(problem_after([&] {
                put(folder / "c", "a");
                fs::last_write_time(folder / "c", fs::last_write_time(folder / "model/a"));
                fs::rename(folder / "c", folder / "model/a");
              }),
              HasSubstr("changed while it was read"));
  EXPECT_NE(problem_after([&] { fs::remove(folder / "model/a"); }), "");
}

}  // namespace
}  // namespace scute

#include "scute/io/input.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <chrono>

#include "scute/base/hash.h"
#include "scute/io/file.h"
#include "scute/io/npy.h"
#include "scute/io/safetensors.h"
#include "scute/io/testing.h"

namespace scute::input_test {
namespace {

namespace fs = std::filesystem;

using fixtures::elements;
using fixtures::error_of;
using fixtures::floats;
using fixtures::Folder;
using fixtures::put;
using ::testing::HasSubstr;

char first_of(const InputFile& file, int64_t offset = 0) {
  return static_cast<char>(file.bytes(offset, 1).get()[0]);
}

/// "a" and "b"; "large" and "other", sparse, and large enough to be mapped part by part.
void put_small_and_large(const Folder& folder) {
  put(folder / "a", "a");
  put(folder / "b", "b");
  for (const char* name : {"large", "other"}) {
    put(folder / name, name);
    fs::resize_file(folder / name, uintmax_t{65} << 20);
  }
}

TEST(InputFile, IsTheFileThatWasOpenedWhateverHasItsNameLater) {
  const Folder folder;
  put_small_and_large(folder);
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

TEST(InputFiles, AreOpenedOnceWhateverHasTheNameLater) {
  const Folder folder;
  put_small_and_large(folder);
  const std::string small_hash = hash_file(folder / "a"), large_hash = hash_file(folder / "large");
  InputFiles files;
  EXPECT_EQ(first_of(files.open(folder / "a")), 'a');  // and given back
  EXPECT_EQ(first_of(files.open(folder / "large")), 'l');
  fs::rename(folder / "b", folder / "a");
  fs::rename(folder / "other", folder / "large");
  EXPECT_EQ(files.text(folder / "a"), "a");
  EXPECT_EQ(files.sha256(folder / "a"), small_hash);
  EXPECT_EQ(first_of(files.open(folder / "large")), 'l');
  EXPECT_EQ(files.sha256(folder / "large"), large_hash);
  EXPECT_EQ(InputFile(folder / "a").sha256(), hash_file(folder / "a"));
}

TEST(InputFiles, ThatAreChangedInPlaceAreRefused) {
  const Folder folder;
  put(folder / "a", "a");
  put(folder / "large", "x");
  fs::resize_file(folder / "large", uintmax_t{65} << 20);
  InputFiles files;
  for (const char* name : {"a", "large"}) {
    files.open(folder / name);
    fs::last_write_time(folder / name, fs::file_time_type::clock::now() - std::chrono::hours(1));
    EXPECT_THAT(error_of([&] { files.open(folder / name); }),
                HasSubstr("changed while it was read"));
  }
  const InputFile large(folder / "large");
  fs::last_write_time(folder / "large", fs::file_time_type::clock::now());
  EXPECT_THAT(error_of([&] { large.sha256(); }), HasSubstr("changed while it was read"));
}

TEST(InputFiles, HashBesideTheWork) {
  const Folder folder;
  put_small_and_large(folder);
  InputFiles files, plain;
  files.hash_beside({folder / "a", folder / "none", folder / "large"});
  files.hash_beside({folder / "b"});
  for (const char* name : {"large", "b", "a"}) {
    EXPECT_EQ(files.sha256(folder / name), plain.sha256(folder / name));
  }
  EXPECT_NE(error_of([&] { files.sha256(folder / "none"); }), "");
  files.hash_beside({});
  files.hash_beside({folder / "other"});
  EXPECT_EQ(files.sha256(folder / "other"), plain.sha256(folder / "other"));
}

// What was hashed early may be changed before all of it was read.
TEST(InputFiles, WhatChangesAfterItsHashIsRefusedToo) {
  const Folder folder;
  put_small_and_large(folder);
  for (const char* name : {"a", "large"}) {
    const InputFile file(folder / name);
    file.sha256();
    EXPECT_EQ(file.sha256().size(), 64u);
    fs::last_write_time(folder / name, fs::file_time_type::clock::now() - std::chrono::hours(1));
    EXPECT_THAT(error_of([&] { file.sha256(); }), HasSubstr("changed while it was read"));
  }
}

// 256 GiB of holes would take minutes.
TEST(InputFiles, HashingEndsWithTheWork) {
  const Folder folder;
  put(folder / "huge", "x");
  std::error_code unable;
  fs::resize_file(folder / "huge", uintmax_t{256} << 30, unable);
  if (unable) GTEST_SKIP() << "SKIPPED: no sparse file of 256 GiB here";
  const auto start = std::chrono::steady_clock::now();
  {
    InputFiles files;
    files.hash_beside({folder / "huge"});
  }
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(30));
}

TEST(InputFiles, KeepWhatComesOnce) {
  int ends[2] = {};
  ASSERT_EQ(::pipe(ends), 0);
  ASSERT_EQ(::write(ends[1], "once", 4), 4);
  ::close(ends[1]);
  const std::string name = "/dev/fd/" + std::to_string(ends[0]);
  InputFiles files;
  EXPECT_NE(error_of([&] { files.open(name); }), "");  // who wants a stream says so
  EXPECT_EQ(files.text(name), "once");
  EXPECT_EQ(files.text(name), "once");
  EXPECT_EQ(files.sha256(name), sha256("once"));
  EXPECT_NE(error_of([&] { files.text(name, 3); }), "");
  ::close(ends[0]);
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { files.text(folder / "pipe"); }), HasSubstr("a named pipe"));
}

TEST(InputStamps, WhatTheWorkWritesIsNoInput) {
  const Folder folder;
  fs::create_directories(folder / "model/out");
  put(folder / "model/a", "a");
  put(folder / "model/h.safetensors", "before");
  put(folder / "model/out/b", "before");
  const InputStamps stamps({folder / "model"},
                           {folder / "model/h.safetensors", folder / "model/out", "", "none"});
  put(folder / "model/h.safetensors", "another");
  put(folder / "model/out/b", "another");
  EXPECT_EQ(error_of([&] { stamps.check(); }), "");
  put(folder / "model/a", "another");
  EXPECT_THAT(error_of([&] { stamps.check(); }), HasSubstr("model/a"));
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
}  // namespace scute::input_test

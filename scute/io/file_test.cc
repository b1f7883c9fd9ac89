#include "scute/io/file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>
#include <vector>

#include "scute/io/testing.h"

namespace scute::file_test {
namespace {

using fixtures::bytes_of;
using fixtures::error_of;
using fixtures::Folder;
using fixtures::get;
using fixtures::put;
using fixtures::SmallDisk;
using ::testing::HasSubstr;

TEST(ReadText, ReturnsEveryByte) {
  const Folder folder;
  const std::string text(200'000, 'x');  // more than one read
  put(folder / "a", text + std::string("\0\n", 2));
  EXPECT_EQ(read_text(folder / "a"), text + std::string("\0\n", 2));
}

TEST(ReadText, RefusesMoreThanTheLimit) {
  const Folder folder;
  put(folder / "a", "12345");
  EXPECT_EQ(read_text(folder / "a", 5), "12345");
  EXPECT_THAT(error_of([&] { read_text(folder / "a", 4); }), HasSubstr("at most 4 bytes"));
}

TEST(ReadText, NamesTheFileAndTheReason) {
  const Folder folder;
  EXPECT_THAT(error_of([&] { read_text(folder / "none"); }),
              ::testing::AllOf(HasSubstr("none"), HasSubstr("No such file")));
  EXPECT_THAT(error_of([&] { read_text(folder.path()); }), HasSubstr("a folder"));
}

TEST(ReadText, ReadsAPipeWithoutANameAndRefusesOneWithAtOnce) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { read_text(folder / "pipe"); }), HasSubstr("a named pipe"));
  EXPECT_THAT(error_of([] { read_text("/dev/zero"); }), HasSubstr("a device"));
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  std::thread writer([&] {
    EXPECT_EQ(::write(ends[1], "slow", 4), 4);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    EXPECT_EQ(::write(ends[1], "ly", 2), 2);
    ::close(ends[1]);
  });
  EXPECT_EQ(read_text("/dev/fd/" + std::to_string(ends[0])), "slowly");
  writer.join();
  ::close(ends[0]);
}

TEST(ReadText, ASignalEndsTheWaitingForAPipe) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe(ends.data()), 0);
  struct sigaction action {
  }, before{};
  action.sa_handler = [](int) {};
  ASSERT_EQ(::sigaction(SIGUSR1, &action, &before), 0);
  const pthread_t waiting = ::pthread_self();
  std::atomic<bool> over{false};
  std::thread other([&] {
    while (!over) {  // until it is read() that is interrupted
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ::pthread_kill(waiting, SIGUSR1);
    }
  });
  EXPECT_THAT(error_of([&] { read_text("/dev/fd/" + std::to_string(ends[0])); }),
              HasSubstr("Interrupted"));
  over = true;
  other.join();
  ::sigaction(SIGUSR1, &before, nullptr);
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST(MapFile, PointsAtTheByteAskedFor) {
  const Folder folder;
  std::string text(10'000, 'a');
  text[5000] = 'b';  // beyond the first page, not at a page's beginning
  put(folder / "a", text);
  const auto mapped = map_file(folder / "a", 5000, 2);
  EXPECT_EQ(static_cast<char>(mapped.get()[0]), 'b');
  EXPECT_EQ(static_cast<char>(mapped.get()[1]), 'a');
}

TEST(MapFile, OutlivesTheFilesName) {
  const Folder folder;
  put(folder / "a", "abc");
  const auto mapped = map_file(folder / "a", 1, 2);
  std::filesystem::remove(folder / "a");
  EXPECT_EQ(static_cast<char>(mapped.get()[1]), 'c');
}

TEST(MapFile, RefusesBytesThatTheFileLacks) {
  const Folder folder;
  put(folder / "a", "abc");
  EXPECT_NE(map_file(folder / "a", 3, 0), nullptr);
  EXPECT_THAT(error_of([&] { map_file(folder / "a", 2, 2); }), HasSubstr("3 bytes"));
  EXPECT_NE(error_of([&] { map_file(folder / "a", -1, 1); }), "");
  EXPECT_NE(error_of([&] { map_file(folder / "a", 1, -1); }), "");
  EXPECT_NE(error_of([&] { map_file(folder / "a", INT64_MAX, INT64_MAX); }), "");
}

TEST(MapFile, RefusesPipesAndFoldersWithoutWaiting) {
  const Folder folder;
  ASSERT_EQ(::mkfifo((folder / "pipe").c_str(), 0600), 0);
  EXPECT_THAT(error_of([&] { map_file(folder / "pipe", 0, 1); }), HasSubstr("a regular file"));
  EXPECT_THAT(error_of([&] { file_size(folder.path()); }), HasSubstr("a folder"));
}

TEST(AppendLine, AddsWholeLinesFromManyThreads) {
  const Folder folder;
  const std::string path = folder / "log";
  std::vector<std::thread> writers;
  for (int i = 0; i < 4; ++i) {
    writers.emplace_back([&path, i] {
      for (int k = 0; k < 20; ++k) append_line(path, std::string(1000, static_cast<char>('a' + i)));
    });
  }
  for (std::thread& writer : writers) writer.join();
  std::ifstream in(path);
  int lines = 0;
  for (std::string line; std::getline(in, line); ++lines) {
    ASSERT_EQ(line, std::string(1000, line.empty() ? '?' : line[0]));
  }
  EXPECT_EQ(lines, 80);
}

TEST(AppendLine, DoesNotContinueAHalfWrittenLine) {
  const Folder folder;
  put(folder / "log", "whole\nhal");
  append_line(folder / "log", "next");
  EXPECT_EQ(get(folder / "log"), "whole\nhal\nnext\n");
}

TEST(AppendLine, LeavesTheFileAsItWasWhenTheDiskIsFull) {
  const Folder folder;
  const std::string before = std::string(4000, 'x') + "\n";
  put(folder / "log", before);
  std::string error;
  {
    const SmallDisk disk(4096);
    error = error_of([&] { append_line(folder / "log", std::string(1000, 'y')); });
  }
  EXPECT_THAT(error, HasSubstr("room to append"));
  EXPECT_EQ(get(folder / "log"), before);
}

TEST(HashFile, IsTheSha256OfTheBytes) {
  const Folder folder;
  put(folder / "a", "abc");  // FIPS 180-4's example
  EXPECT_EQ(hash_file(folder / "a"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

}  // namespace
}  // namespace scute::file_test

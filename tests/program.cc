#include "tests/program.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <stdexcept>

namespace scute {
namespace {

namespace fs = std::filesystem;

std::string text_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void redirect(const std::string& path, int to) {
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT, 0600);
  if (descriptor < 0 || ::dup2(descriptor, to) < 0) ::_exit(126);
  ::close(descriptor);
}

[[noreturn]] void become_in(const std::vector<std::string>& words,
                            const Surroundings& surroundings) {
  if (!surroundings.folder.empty() && ::chdir(surroundings.folder.c_str()) != 0) ::_exit(126);
  ::signal(SIGINT, SIG_DFL);  // a background job of a shell would inherit "ignore"
  if (surroundings.largest_file) {
    const auto bytes = static_cast<rlim_t>(*surroundings.largest_file);
    const struct rlimit limit { bytes, bytes };
    ::setrlimit(RLIMIT_FSIZE, &limit);
    ::signal(SIGXFSZ, SIG_DFL);  // the program makes it an error of the write
  }
  become(words);
}

}  // namespace

void become(const std::vector<std::string>& words) {
  std::vector<char*> pointers;
  for (const std::string& word : words) pointers.push_back(const_cast<char*>(word.c_str()));
  pointers.push_back(nullptr);
  ::execv(pointers[0], pointers.data());
  ::_exit(127);
}

Child::Child(const std::vector<std::string>& arguments, const Surroundings& surroundings)
    : standard_output_(surroundings.standard_output) {
  std::vector<std::string> words{surroundings.program};
  words.insert(words.end(), arguments.begin(), arguments.end());
  pid_ = ::fork();
  if (pid_ < 0) throw std::runtime_error("no new process");
  if (pid_ != 0) return;
  redirect(standard_output_.empty() ? written_.path("out") : standard_output_, STDOUT_FILENO);
  redirect(written_.path("err"), STDERR_FILENO);
  become_in(words, surroundings);
}

void Child::send(int signal) const { ::kill(pid_, signal); }

Ended Child::wait() {
  int status = 0;
  while (::waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return {code, text_of(written_.path("out")), text_of(written_.path("err"))};
}

Ended scute_program(const std::vector<std::string>& arguments, const Surroundings& surroundings) {
  return Child(arguments, surroundings).wait();
}

Ended shell(const std::string& line, const std::string& folder) {
  const std::string path = fs::path(SCUTE_PROGRAM).parent_path().string();
  Surroundings surroundings;
  surroundings.folder = folder;
  surroundings.program = "/bin/sh";
  return Child({"-c", "PATH='" + path + "':\"$PATH\"; " + line}, surroundings).wait();
}

}  // namespace scute

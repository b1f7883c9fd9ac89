// The right to write one output: held by one process at a time, and told from what a dead one left.
#pragma once

#include <string>

namespace scute {

/// While it lives nobody else may write `target`. On disk it is the folder TARGET.writing, which
/// holds the marker `.scute-writing` (JSON: host, boot, process, start; locked with flock while its
/// writer lives) and the output until it is put in place; nothing of it reaches the output. Beside
/// them lies what a writer keeps of unfinished work, until the output is put in place. On a file
/// system without locks whoever makes the folder has the claim, and what a dead one left there goes
/// when a person says that it is dead (leftovers.h).
class Claim {
 public:
  /// How what is complete takes the place of what is there.
  enum class Renames {
    atomic,   ///< one exchange; in steps only where the file system has none
    in_steps  ///< always as there: out of the way, then in place, and a note that completes it
  };

  /// Whether a writer that this one takes the place of is known to be gone, as of a job that its
  /// scheduler began again, maybe on another host: then a free lock suffices. told: a person says
  /// so, who is believed where there are no locks either.
  enum class Before { unknown, gone, told };

  /// Removes what a writer left that is proven dead: its lock is free, and its marker names this
  /// boot of the system or an earlier one of this host. Completes what it was about to put in
  /// place. Error naming the writer when it lives or may live, and when TARGET.writing or anything
  /// in it is not of a claim, as beside a marker without a record: then nothing is touched.
  explicit Claim(const std::string& target, Renames how = Renames::atomic,
                 Before before = Before::unknown);
  ~Claim();  ///< removes TARGET.writing, unless something is kept there
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;

  const std::string& target() const { return target_; }  ///< without a slash at its end
  const std::string& folder() const { return folder_; }
  const std::string& marker() const { return marker_; }
  /// Where the output, a file or a folder, is written first: TARGET.writing/NAME.
  const std::string& payload() const { return payload_; }
  /// The folder for what is kept of unfinished work, not there unless a writer, this one or one
  /// that died, made it. Goes when the output is put in place.
  const std::string& checkpoint() const { return checkpoint_; }
  /// What a writer does with a checkpoint that lies there.
  enum class Kept { refused, gone_on };
  /// Error when one lies there: for a writer that would drop it.
  void require_no_checkpoint() const;
  void forget_checkpoint();

  /// Notes what stands under the name now: nothing else will be replaced.
  void note_standing();
  /// Puts the payload, already on disk, under the name; its folder is synced. Error when what
  /// stands there is not what note_standing() saw: that stays.
  void publish();
  /// The same, whatever file stands there.
  void publish_over();

 private:
  /// Tells one file from another, and from itself changed since.
  struct Standing {
    bool there = false;
    unsigned long long device = 0, inode = 0;
    long long size = 0, seconds = 0, nanoseconds = 0;
    bool operator==(const Standing&) const = default;
  };
  static Standing standing_of(const std::string& path);

  void lock(Before writer);
  bool try_lock(Before writer);
  void open_marker(bool make);
  void take_over(Before writer);
  void begin();
  void remove_own();
  /// Whether the marker is all that is in the folder.
  bool holds_nothing_else() const;
  void exchange();
  void exchange_in_steps();
  void put_where_nothing_is();
  [[noreturn]] void refuse_changed() const;

  std::string target_, folder_, marker_, payload_, old_, checkpoint_;
  Renames how_;
  int lock_ = -1;
  bool locks_ = true;  ///< the file system has locks
  bool made_marker_ = false;
  Standing standing_;
};

/// Whether somebody is writing it now, or may be: a Claim of it would be refused for that.
bool is_being_written(const std::string& target);

}  // namespace scute

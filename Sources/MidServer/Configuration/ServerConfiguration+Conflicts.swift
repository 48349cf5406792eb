package import MidCore

extension ServerConfiguration {
  /// What is allowed alone but not together.
  func conflicts() -> [ConfigurationError] {
    var errors: [ConfigurationError] = []
    func add(_ setting: any SettingDescription, _ message: String) {
      errors.append(ConfigurationError(source: "settings", key: setting.key, message: message))
    }
    if self.snowflake.renewInterval * 3 > self.snowflake.lease {
      add(
        Settings.snowflakeRenewInterval,
        "\(self.snowflake.renewInterval.configurationText) is more than a third of \(Settings.snowflakeLease.key), "
          + "\(self.snowflake.lease.configurationText): a lease has to survive two failed renewals")
    }
    // The bound is stored again after a third of its time, so two thirds of it lie ahead of the clock at least.
    if self.snowflake.maxAhead * 3 > self.snowflake.localBound * 2 {
      add(
        Settings.snowflakeMaxAhead,
        "\(self.snowflake.maxAhead.configurationText) is more than two thirds of \(Settings.snowflakeLocalBound.key), "
          + "\(self.snowflake.localBound.configurationText): ids that run ahead would meet the stored bound")
    }
    let sequences = self.snowflake.layout.sequencesPerTick
    if self.snowflake.sequenceJitter > sequences {
      add(
        Settings.snowflakeSequenceJitter,
        "\(self.snowflake.sequenceJitter) is more than the layout's \(sequences) sequences of a tick")
    }
    self.snowflake.conflicts(add)
    self.grpc.tls.conflicts(add)
    self.table.conflicts(isStriped: !self.databases.stripes.isEmpty, add)
    self.databases.conflicts(table: self.table, add)
    self.forms.conflicts(add)
    return errors
  }
}

extension ServerConfiguration.Snowflake {
  fileprivate func conflicts(_ add: (any SettingDescription, String) -> Void) {
    let misfit = "does not fit \(Settings.snowflakeLayout.key): "
    if let range = self.workerRange {
      if range.upperBound > self.layout.maximumWorker {
        add(Settings.workerRange, misfit + "worker ids are 0 to \(self.layout.maximumWorker)")
      }
      if self.workerID != .leased {
        add(Settings.workerRange, "is for worker ids that are leased, and \(Settings.workerID.key) is not leased")
      } else if self.datacenterID != nil {
        add(Settings.workerRange, "says which worker ids may be leased, and so does \(Settings.datacenterID.key)")
      }
    }
    do throws(IDError) {
      switch self.workerID {
      case .number(let number): _ = try self.worker(number)
      // Which one it is shows at the start.
      case .ordinal, .leased: _ = try self.worker(0)
      }
    } catch {
      let setting: any SettingDescription =
        if case .number = self.workerID { Settings.workerID } else { Settings.datacenterID }
      add(setting, misfit + error.message)
    }
  }

  /// Which worker id the settings ask for: with a datacenter given, that and the machine within it; without one, all
  /// worker bits as one number.
  ///
  /// - Parameter host: This machine's name, which may end with the number.
  /// - Throws: ``IDError/Code/invalidArgument`` where the name does not end with a number that fits the layout. All other
  ///   settings of a loaded configuration fit.
  package func wish(host: String) throws(IDError) -> WorkerWish {
    switch self.workerID {
    case .number(let number): return .fixed(try self.worker(number).number)
    case .ordinal:
      guard let number = WorkerSource.ordinal(ofHost: host) else {
        throw IDError(
          .invalidArgument,
          "\(Settings.workerID.key) is ordinal, and the name of this host, '\(host)', does not end with a number as in "
            + "mid-3; set --worker-id to a number, or to leased")
      }
      do throws(IDError) { return .fixed(try self.worker(number).number) } catch {
        throw IDError(
          .invalidArgument,
          "\(Settings.workerID.key) is ordinal, and the number at the end of the name of this host, '\(host)', does not "
            + "fit \(Settings.snowflakeLayout.key): \(error.message)")
      }
    case .leased:
      if let range = self.workerRange { return .any(Int64(range.lowerBound)...Int64(range.upperBound)) }
      guard self.datacenterID != nil else { return .any(0...self.layout.maximumWorker) }
      let first = try self.worker(0).number
      return .any(first...first + (1 << Int64(self.layout.machineBits)) - 1)
    }
  }

  private func worker(_ number: Int) throws(IDError) -> WorkerID {
    guard let datacenter = self.datacenterID else { return try WorkerID(Int64(number), layout: self.layout) }
    return try WorkerID(datacenter: Int64(datacenter), machine: Int64(number), layout: self.layout)
  }
}

extension ServerConfiguration.Snowflake {
  /// The times of the worker id's lease.
  package var leaseSettings: WorkerLeaseSettings {
    func milliseconds(_ duration: Duration) -> Int64 { Int64(duration / .milliseconds(1)) }
    // A restart after a crash waits for as long, so that it keeps its worker id.
    let patience = milliseconds(self.localBound)
    return WorkerLeaseSettings(
      lease: milliseconds(self.lease), renewal: milliseconds(self.renewInterval), localBound: patience,
      ahead: milliseconds(self.maxAhead), patience: patience)
  }
}

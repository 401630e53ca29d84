// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/classrec/classrec/server"

// doorFlags bound who may come.
type doorFlags struct {
	MaxConnections           int      `name:"max-connections" default:"10000" placeholder:"N" help:"How many connections each of --grpc-listen, --http-listen and --admin-listen may have (${default}); one more is closed at once." group:"limits"`
	RoomMaxConnections       int      `name:"room-max-connections" default:"60000" placeholder:"N" help:"How many each of --room-listen and --room-http-listen may have (${default})." group:"limits"`
	MaxConnectionsPerAddress int      `name:"max-connections-per-address" default:"0" placeholder:"N" help:"How many of them one address may have, of IPv6 one /64; 0 is no bound (${default})." group:"limits"`
	CORSOrigin               []string `name:"cors-origin" placeholder:"ORIGIN" help:"Pages of this origin (https://app.example) may call the API from a browser; '*': of every one. Repeatable. Without: none but our own." group:"api"`
	AllowedHost              []string `name:"allowed-host" placeholder:"NAME" help:"HTTP is answered under this name, beside localhost and addresses. Repeatable. Without: on loopback no other, elsewhere any." group:"api"`
}

func (f *doorFlags) doors() server.Doors {
	return server.Doors{
		MaxConnections: f.MaxConnections, RoomMaxConnections: f.RoomMaxConnections,
		MaxConnectionsPerAddress: f.MaxConnectionsPerAddress,
		CORSOrigins:              f.CORSOrigin, AllowedHosts: f.AllowedHost,
	}
}

// roomLimitFlags bound what the embedded room server takes.
type roomLimitFlags struct {
	RoomMaxRooms        int      `name:"room-max-rooms" default:"20000" placeholder:"N" help:"How many rooms may have somebody in them (${default})." group:"limits"`
	RoomMaxParticipants int      `name:"room-max-participants" default:"50000" placeholder:"N" help:"How many people there may be in all rooms (${default})." group:"limits"`
	RoomMaxPeople       int      `name:"room-max-people" default:"5000" placeholder:"N" help:"How many people there may be in one room (${default})." group:"limits"`
	RoomMaxMessage      byteSize `name:"room-max-message" default:"1MiB" placeholder:"SIZE" help:"The largest message of a participant (${default}); a larger one ends its connection." group:"limits"`
	RoomMessageRate     int      `name:"room-message-rate" default:"300" placeholder:"N" help:"How many messages a participant may send in a second, on average over ten; 0 is no bound (${default})." group:"limits"`
	RoomClassRate       int      `name:"room-class-rate" default:"10" placeholder:"N" help:"How many classes begin in a room in a minute; 0 is no bound (${default})." group:"limits"`
	RoomMaxSaved        int      `name:"room-max-saved" default:"1000" placeholder:"N" help:"How many messages a room keeps for those who come late (${default})." group:"limits"`
	RoomMaxSavedBytes   byteSize `name:"room-max-saved-bytes" default:"4MiB" placeholder:"SIZE" help:"How much they may be in all (${default})." group:"limits"`
	RoomMaxPublishers   int      `name:"room-max-publishers" default:"2000" placeholder:"N" help:"How many streams of media are taken at once (${default})." group:"limits"`
	RoomMaxStreams      int      `name:"room-max-streams" default:"4" placeholder:"N" help:"How many of one participant (${default})." group:"limits"`
	RoomMinFree         byteSize `name:"room-min-free" default:"256MiB" placeholder:"SIZE" help:"How much of the disk is left alone: below, no class begins, and nothing more is recorded of those that are on; 0 is no bound (${default})." group:"limits"`
}

func (f *roomLimitFlags) limits() server.RoomLimits {
	rate, free := f.RoomMessageRate, int64(f.RoomMinFree)
	if rate == 0 {
		rate = -1
	}
	if free == 0 {
		free = -1
	}
	return server.RoomLimits{
		MaxRooms: f.RoomMaxRooms, MaxParticipants: f.RoomMaxParticipants, MaxPerRoom: f.RoomMaxPeople,
		MaxMessageBytes: int64(f.RoomMaxMessage), MessagesPerSecond: rate, ClassesPerMinute: orForever(f.RoomClassRate),
		MaxSavedMessages: f.RoomMaxSaved, MaxSavedBytes: int64(f.RoomMaxSavedBytes),
		MaxPublishers: f.RoomMaxPublishers, MaxStreams: f.RoomMaxStreams, MinFree: free,
	}
}
